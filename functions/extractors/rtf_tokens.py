"""RTF's tokens, read as a stream (RTF 1.9.1, "RTF syntax"), and the encodings of its fonts."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK_BYTES = 256 * 1024
# Longer than any token that must not be cut: a word of 32 letters, its number and a space.
_LONGEST_TOKEN = 64
_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?[0-9]{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|[\r\n\0]+|([^\\{}\r\n\0]{1,4096})|\\",
    re.DOTALL,
)


class Token(NamedTuple):
    """One of these: a control word with its number; bytes of text; a symbol; a brace."""

    word: str = ""
    number: int | None = None
    text: bytes = b""
    symbol: str = ""
    brace: str = ""


def tokens(file: io.BufferedReader) -> Iterator[Token]:
    held = b""
    while block := file.read(_BLOCK_BYTES):
        held += block
        is_last = len(block) < _BLOCK_BYTES
        at = 0
        while at < len(held) and (is_last or at < len(held) - _LONGEST_TOKEN):
            match = _TOKEN.match(held, at)
            assert match is not None
            at = match.end()
            token = _token(match)
            if token.word == "bin" and token.number and token.number > 0:
                # So many bytes are anything, braces too.
                at += token.number
                continue
            yield token
        if at > len(held):
            file.seek(at - len(held), io.SEEK_CUR)
        held = held[at:]


def _token(match: re.Match[bytes]) -> Token:
    word, number, code, symbol, brace, text = match.groups()
    if text:
        return Token(text=text)
    if word:
        return Token(word=word.decode(), number=int(number) if number else None)
    if code:
        return Token(text=bytes.fromhex(code.decode()))
    return Token(symbol=(symbol or b"").decode("latin-1"), brace=(brace or b"").decode())


# The encodings of \fcharset, by Windows' numbers; the Macintosh's where Python has them.
CHARSETS = {
    0: "cp1252",
    77: "mac-roman",
    78: "cp932",
    79: "big5hkscs",
    80: "cp949",
    81: "mac-arabic",
    83: "mac-greek",
    84: "mac-cyrillic",
    85: "gb18030",
    86: "mac-romanian",
    88: "mac-latin2",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "big5hkscs",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}


def codec(page: int | None, otherwise: str) -> str:
    """Python's name of a Windows code page."""
    name = {936: "gb18030", 950: "big5hkscs", 65001: "utf-8", 10000: "mac-roman"}.get(page or 0, f"cp{page}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return otherwise
