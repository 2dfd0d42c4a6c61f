"""RTF, read as a stream. The libraries for it take the square of the time for links or fonts that never end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.rtf_tokens import CHARSETS, Token, codec, tokens
from functions.extractors.tables import Row, with_tables
from functions.extractors.word_styles import outline_by_name
from functions.pieces import Piece, in_records

# Groups that hold no text of the document. Of those that begin with a star, only a few do.
_ASIDE = frozenset(
    (
        *("fonttbl", "stylesheet", "colortbl", "info", "pict", "object", "objdata", "header", "headerf", "headerl"),
        *("headerr", "footer", "footerf", "footerl", "footerr", "annotation", "atnid", "atnauthor", "fldinst", "xe"),
        *("tc", "nonesttables", "sp", "themedata", "datastore", "listtable", "listoverridetable", "revtbl", "rsidtbl"),
        *(
            "ftnsep",
            "ftnsepc",
            "ftncn",
            "aftnsep",
            "aftnsepc",
            "aftncn",
            "generator",
            "filetbl",
            "bkmkstart",
            "bkmkend",
        ),
    )
)
_STARRED = frozenset(("shpinst", "ud"))
_MARKS = frozenset(("listtext", "pntext"))
_CHARACTERS = {
    "tab": "\t",
    "line": "\n",
    "softline": "\n",
    "emdash": "—",
    "endash": "–",
    "bullet": "•",
    "lquote": "‘",
    "rquote": "’",
    "ldblquote": "“",
    "rdblquote": "”",
    "emspace": " ",
    "enspace": " ",
    "nestcell": " ",
}
_SYMBOLS = {"~": "\xa0", "_": "-", "\\": "\\", "{": "{", "}": "}"}
_ENDS = frozenset(("par", "sect", "page"))
_LINE_ENDS = frozenset("\r\n")
# Word writes a few dozen.
_DEEPEST = 10_000
_BODY, _LOWEST = 9, 6
_SURROGATES = re.compile("[\ud800-\udfff]+")


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page, in records: headings, list items, table rows, paragraphs and the notes after them.

    Raises `Rejected` with FILE_DAMAGED where the file ends before its text does.
    """
    reader = _Reader()
    with path.open("rb") as file:
        yield from in_records(with_tables(reader.items(tokens(file))))
    if reader.is_open or reader.is_too_deep:
        raise packages.damaged(options, "an RTF document to its end")


@dataclass(slots=True)
class _Group:
    """What ends with its group. `into`: where its text goes; None: nowhere."""

    into: list[str] | None
    font: int = -1
    unicode_skip: int = 1
    table: str = ""
    is_note: bool = False


@dataclass(slots=True)
class _Paragraph:
    """What \\pard resets."""

    style: int = 0
    outline: int | None = None
    in_table: bool = False


@dataclass(slots=True)
class _Style:
    number: int = 0
    outline: int | None = None
    name: str = ""


@dataclass(slots=True)
class _Row:
    cells: list[str] = field(default_factory=list)
    is_header: bool = False


class _Reader:
    """Tokens to pieces and rows."""

    def __init__(self) -> None:
        self.is_too_deep = False
        self._text: list[str] = []
        self._mark: list[str] = []
        self._notes: list[str] = []
        self._group = _Group(self._text)
        self._groups: list[_Group] = []
        # Bytes of text: a character may be of two, of which one looks like a letter.
        self._bytes = bytearray()
        self._skip = 0
        self._is_starred = False
        self._codec = "cp1252"
        self._fonts: dict[int, str] = {}
        self._styles: dict[int, int] = {}
        self._style = _Style()
        self._font = -1
        self._paragraph = _Paragraph()
        self._row = _Row()
        self._cell: list[str] = []
        self._words: dict[str, Callable[[int], None]] = {
            "ansicpg": self._set_codec,
            "mac": lambda _: self._set_codec(10000),
            "pc": lambda _: self._set_codec(437),
            "pca": lambda _: self._set_codec(850),
            "f": self._set_font,
            "fcharset": self._set_charset,
            "cpg": self._set_page,
            "uc": self._set_skip,
            "u": self._add_unicode,
            "s": self._set_style,
            "outlinelevel": self._set_outline,
            "pard": lambda _: self._reset(),
            "intbl": lambda _: self._enter_table(),
            "trowd": lambda _: self._begin_row(),
            "trhdr": lambda _: self._mark_header(),
            "cell": lambda _: self._end_cell(),
            "footnote": lambda _: self._begin_note(),
        }

    @property
    def is_open(self) -> bool:
        return bool(self._groups)

    def items(self, read: Iterator[Token]) -> Iterator[Piece | Row]:
        for token in read:
            if token.text:
                self._add(token.text)
            elif token.brace == "{":
                self._open()
                if self.is_too_deep:
                    return
            elif token.brace:
                self._close()
                if not self._groups:
                    break
            elif token.word in _ENDS or (token.symbol in _LINE_ENDS and token.symbol):
                yield from self._end_paragraph()
            elif token.word == "row":
                self._flush()
                yield Row(1, self._row.cells, self._row.is_header)
                self._row = _Row()
            elif token.word or token.symbol:
                self._control(token)
        self._flush()
        yield from self._end_paragraph()

    def _open(self) -> None:
        self._flush()
        self._is_starred, self._skip = False, 0
        self._groups.append(self._group)
        self._group = replace(self._group, is_note=False)
        self.is_too_deep = len(self._groups) > _DEEPEST

    def _close(self) -> None:
        self._flush()
        self._skip = 0
        if self._group.table == "stylesheet":
            self._end_style()
        if self._group.is_note and self._group.into:
            self._notes.append("".join(self._group.into))
        if self._groups:
            self._group = self._groups.pop()

    def _control(self, token: Token) -> None:
        if token.symbol == "*":
            self._is_starred = True
            return
        self._flush()
        if self._skip and not token.symbol:
            self._skip -= 1
        if token.symbol:
            self._write(_SYMBOLS.get(token.symbol, ""))
        elif token.word in _ASIDE or (self._is_starred and token.word not in _STARRED | _MARKS):
            self._group.into, self._group.table = None, token.word
        elif token.word in _MARKS:
            self._mark = []
            self._group.into = self._mark if self._group.into is not None else None
        elif (character := _CHARACTERS.get(token.word)) is not None:
            self._write(character)
        elif (act := self._words.get(token.word)) is not None:
            act(token.number if token.number is not None else 1)
        self._is_starred = False

    def _add(self, text: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(text))
            self._skip -= skipped
            text = text[skipped:]
        if self._group.into is not None:
            self._bytes += text
        elif self._group.table == "stylesheet" and len(self._style.name) < 100:
            self._style.name += text.decode("latin-1")

    def _flush(self) -> None:
        if self._bytes:
            self._write(self._bytes.decode(self._fonts.get(self._group.font, self._codec), "replace"))
            self._bytes.clear()

    def _write(self, text: str) -> None:
        if self._group.into is not None:
            self._group.into.append(text)

    def _end_paragraph(self) -> Iterator[Piece]:
        self._flush()
        if self._group.into is None or self._group.into is self._mark:
            return
        if self._group.into is not self._text:
            # A paragraph of a note.
            self._group.into.append("\n")
            return
        if self._paragraph.in_table:
            self._text.append(" ")
            return
        text = _tidied(self._text)
        mark = "".join(self._mark).strip()
        self._text.clear()
        self._mark = []
        if text:
            yield self._piece(text, mark)
        yield from (Piece(_tidied([note])) for note in self._notes)
        self._notes.clear()

    def _piece(self, text: str, mark: str) -> Piece:
        outline = self._paragraph.outline
        outline = self._styles.get(self._paragraph.style, _BODY) if outline is None else outline
        # A bullet is a letter of a font that is all signs.
        told = f"{mark} " if any(map(str.isalnum, mark)) else "- " if mark else ""
        if outline < _BODY:
            return Piece(told + " ".join(text.split("\n")), "heading", min(outline + 1, _LOWEST))
        return Piece(told + text, "item" if told else "paragraph")

    def _end_style(self) -> None:
        style, self._style = self._style, _Style()
        # A style's name ends with a semicolon.
        name = style.name.strip().rstrip(";")
        outline = style.outline if style.outline is not None else outline_by_name(name)
        if outline is not None and name:
            self._styles[style.number] = outline

    def _end_cell(self) -> None:
        if self._group.into is self._text:
            self._row.cells.append(_tidied(self._text))
            self._text.clear()
            self._mark = []

    def _begin_row(self) -> None:
        self._row.is_header = False

    def _mark_header(self) -> None:
        self._row.is_header = True

    def _begin_note(self) -> None:
        if self._group.into is not None:
            self._group.into, self._group.is_note = [], True

    def _enter_table(self) -> None:
        self._paragraph.in_table = True

    def _reset(self) -> None:
        if self._group.into is self._text:
            self._paragraph = _Paragraph()

    def _set_style(self, number: int) -> None:
        if self._group.table == "stylesheet":
            self._style.number = number
        elif self._group.into is self._text:
            self._paragraph.style = number

    def _set_outline(self, level: int) -> None:
        if self._group.table == "stylesheet":
            self._style.outline = level
        elif self._group.into is self._text:
            self._paragraph.outline = max(level, 0)

    def _set_codec(self, page: int) -> None:
        self._codec = codec(page, self._codec)

    def _set_font(self, number: int) -> None:
        self._font = self._group.font = number

    def _set_charset(self, number: int) -> None:
        if self._group.table == "fonttbl" and number in CHARSETS:
            self._fonts[self._font] = CHARSETS[number]

    def _set_page(self, number: int) -> None:
        if self._group.table == "fonttbl":
            self._fonts[self._font] = codec(number, self._codec)

    def _set_skip(self, number: int) -> None:
        self._group.unicode_skip = max(number, 0)

    def _add_unicode(self, number: int) -> None:
        self._write(chr(number % 0x10000))
        self._skip = self._group.unicode_skip


def _tidied(parts: list[str]) -> str:
    """One block of these: without empty lines, and pairs that are one character made one."""
    text = "".join(parts)
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return "\n".join(filter(None, (line.strip() for line in text.split("\n"))))
