"""Plain text in whatever encoding, decoded as it is read: memory does not grow with the file."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, declared, encodings
from functions.pieces import text_records

_READ_BYTES = 256 * 1024
# What no text has: control characters but tab, the newlines and escape; and what could not be decoded.
_ODD = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
# A stray byte happens. One in a hundred was never text.
_ODD_SHARE = 0.01
_ODD_ALLOWED = 3


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page, in records. Notes `encoding`. Raises `Rejected` with BINARY_TEXT."""
    yield from text_records(decoded(path, options))


def decoded(path: Path, options: Options) -> Iterator[str]:
    """A text file in blocks. Notes and raises as `extract`."""
    with path.open("rb") as file:
        encoding = encodings.detect(_blocks(file))
        file.seek(0)
        yield from _decoded(_blocks(file), encoding, options)


def decode_all(data: bytes, options: Options, label: str | None = None) -> str:
    """A whole text; `label` names the encoding that it says it has. Notes and raises as `extract`."""
    encoding = encodings.by_mark(data) or declared.encoding(label, data) or encodings.detect(iter([data]))
    return "".join(_decoded([data], encoding, options))


def _blocks(file: io.BufferedReader) -> Iterator[bytes]:
    return iter(lambda: file.read(_READ_BYTES), b"")


def _decoded(blocks: Iterable[bytes], encoding: str, options: Options) -> Iterator[str]:
    """The text, newlines made one kind. Raises `Rejected` as soon as it looks like none."""
    options.note(encoding=encoding)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True)
    odd = total = 0
    for block in blocks:
        text = decoder.decode(block)
        odd += len(_ODD.findall(text))
        total += len(text)
        if odd > max(_ODD_ALLOWED, _ODD_SHARE * total):
            raise Rejected(
                f"{options.name} is named as a text but holds binary data. Save it as plain text and upload it again.",
                code="BINARY_TEXT",
            )
        yield text
    yield decoder.decode(b"", final=True)
