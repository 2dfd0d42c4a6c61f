"""A table's rows as text that can be understood without the table: each value with its header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from functions.pieces import Piece

# Headers are words, values may be anything: longer ones are told once, and shortened where they are repeated.
_HEADER_CHARACTERS = 60
_COLONS = (":", "：")
# How many columns a cell that stands for several is counted as at most: tables for people have fewer.
MAX_SPAN = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A row while its table is read. `table` tells tables apart that follow each other, and is not 0."""

    table: int
    cells: Sequence[str]
    is_header: bool = False


class Columns:
    """The cells of a sheet's rows, each in its place, however far to the right it stands.

    A sheet's 16,384 columns are hardly ever in use, and one cell in the last of them must not cost the others: those
    beyond the first 256 take the places that follow in the order in which they first hold something.
    """

    _NEAR = 256

    def __init__(self) -> None:
        self._far: dict[int, int] = {}

    def row(self, cells: Iterable[tuple[int, str]]) -> list[str]:
        """The row of these cells, that are not empty: (column, counted from 0; text)."""
        row: list[str] = []
        for column, text in cells:
            place = column if column < self._NEAR else self._far.setdefault(column, self._NEAR + len(self._far))
            if place >= len(row):
                row += [""] * (place + 1 - len(row))
            row[place] = text
        return row


def with_tables(items: Iterable[Piece | Row]) -> Iterator[Piece]:
    """The pieces, with `rows` made of the rows in between. Only what is said of a table's first row counts."""
    for table, group in groupby(items, key=lambda item: item.table if isinstance(item, Row) else 0):
        if not table:
            yield from (item for item in group if isinstance(item, Piece))
            continue
        first = next(group)
        assert isinstance(first, Row)
        cells = (item.cells for item in chain([first], group) if isinstance(item, Row))
        yield from rows(cells, has_header=True if first.is_header else None)


def rows(cells: Iterable[Sequence[str]], *, has_header: bool | None) -> Iterator[Piece]:
    """A piece for each row that is not empty: `Header: value; Header: value`, or the cells apart by tabs.

    Empty cells are left out.

    `has_header`: whether the format says that the first row is one; None where it does not say. Then the first row of
    two cells or more is judged, since a title may stand above it: all cells filled, short, different, and words. A
    table that is nothing but its header comes as this row.
    """
    header: list[str] = []
    is_open, is_told = has_header is not False, True
    for row in filter(None, map(_tidied, cells)):
        if is_open and (has_header or len(row) > 1):
            is_open = False
            if has_header or _is_header(row):
                header = [_shortened(cell) for cell in row]
                is_told = header != row
                if is_told:
                    yield _plain(row)
                waiting = row
                continue
        is_told = True
        yield _named(header, row) if header else _plain(row)
    if not is_told:
        yield _plain(waiting)


def _tidied(row: Sequence[str]) -> list[str]:
    """Each cell on one line, without the empty ones at the end: none for an empty row."""
    values = [" ".join(cell.split()) if cell else "" for cell in row]
    while values and not values[-1]:
        values.pop()
    return values


def _is_header(row: list[str]) -> bool:
    return len(set(row)) == len(row) and all(map(_is_name, row))


def _is_name(cell: str) -> bool:
    """Whether it may name a column. "Name:" names what stands beside it; dates, sums and numbers have no letter."""
    return 0 < len(cell) <= _HEADER_CHARACTERS and not cell.endswith(_COLONS) and any(map(str.isalpha, cell))


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _HEADER_CHARACTERS else f"{cell[: _HEADER_CHARACTERS - 1].rstrip()}…"


def _named(header: list[str], row: list[str]) -> Piece:
    names = (*header, *[""] * (len(row) - len(header)))
    return Piece("; ".join(_value(name, value) for name, value in zip(names, row, strict=False) if value), "row")


def _value(name: str, value: str) -> str:
    if not name:
        return value
    return f"{name} {value}" if name.endswith(_COLONS) else f"{name}: {value}"


def _plain(row: list[str]) -> Piece:
    return Piece("\t".join(filter(None, row)), "row")
