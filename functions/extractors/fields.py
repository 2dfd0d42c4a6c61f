"""Names and values, as JSON and XML have them, as rows that can be understood one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from functions.pieces import Piece

# A value longer than this, or of several lines, is a text, and stands for itself.
_VALUE_CHARACTERS = 200
_ROW_CHARACTERS = 500
# Names before a row: of what nests without end, the last tell where one is.
_NAMES_TOLD = 6


def rows(path: Sequence[str], fields: Iterable[tuple[str, str]]) -> Iterator[Piece]:
    """`path`: what the fields are in. Rows `outer › inner: name: value; name: value`; empty values are left out."""
    before = " › ".join(path[-_NAMES_TOLD:])
    held: list[str] = []
    length = 0
    for name, value in fields:
        if not (value := value.strip()):
            continue
        field = f"{name}: {value}" if name else value
        is_text = len(value) > _VALUE_CHARACTERS or "\n" in value
        if held and (is_text or length + len(field) > _ROW_CHARACTERS):
            yield _row(before, held)
            held, length = [], 0
        if is_text:
            yield from _paragraphs(f"{before}: {field}" if before else field)
        else:
            held.append(field)
            length += len(field) + 2
    if held:
        yield _row(before, held)


def _row(before: str, fields: list[str]) -> Piece:
    row = "; ".join(fields)
    return Piece(f"{before}: {row}" if before else row, "row")


def _paragraphs(text: str) -> Iterator[Piece]:
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        yield Piece(paragraph.strip())
