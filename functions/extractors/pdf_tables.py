"""Tables that are drawn with lines, as rows of cells: from the lines alone, so that a page costs microseconds.

PyMuPDF's find_tables takes 70 ms a page, fifty times what its text takes, and looks for the same lines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.records import Box, Line
from functions.extractors import tables
from functions.extractors.printed import Layout, Print, joined, union
from functions.pieces import Piece

# Points. Lines that miss each other by less are meant to meet.
_TOLERANCE = 3.0
# Two of each: a box around a paragraph is no table.
_LEAST_ROWS = _LEAST_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Table:
    """`top`, `left`: edges of its rows and columns, with the last's far edge."""

    box: Box
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    prints: list[Print]

    def pieces(self) -> Iterator[Piece]:
        """A piece for each row, whose place is that of all that stands in it."""
        boxes: list[Box] = []
        for piece in tables.rows(self._cells(boxes), has_header=None):
            yield Piece(piece.text, piece.kind, piece.level, (Line(0, boxes[-1]),))

    def _cells(self, boxes: list[Box]) -> Iterator[list[str]]:
        """Each row's cells; its box is put behind `boxes` before."""
        grid: dict[int, dict[int, list[Print]]] = {}
        for one in self.prints:
            row = _index(self.rows, (one.box[1] + one.box[3]) / 2)
            # Text that spans columns belongs to the first.
            column = _index(self.columns, one.box[0] + one.size / 2)
            grid.setdefault(row, {}).setdefault(column, []).append(one)
        for _, cells in sorted(grid.items()):
            boxes.append(union(one.box for prints in cells.values() for one in prints))
            yield [_text(cells.get(column, [])) for column in range(len(self.columns) - 1)]


def with_tables(layout: Layout) -> list[list[Print] | Table]:
    """The layout's blocks in their order, and the tables that their lines make, where the first of each was set."""
    grids = [table for group in _groups(layout.rules) if (table := _grid(group))]
    parts: list[list[Print] | Table] = []
    for block in layout.blocks:
        kept = []
        for one in block:
            table = next((grid for grid in grids if _is_within(one.box, grid.box)), None)
            if table is None:
                kept.append(one)
                continue
            if not table.prints:
                parts.append(table)
            table.prints.append(one)
        if kept:
            parts.append(joined(kept))
    return parts


def _text(prints: Sequence[Print]) -> str:
    lines = joined(sorted(prints, key=lambda one: (round(one.box[1] / _TOLERANCE), one.box[0])))
    return "\n".join(one.text.strip() for one in lines)


def _groups(rules: Sequence[Box]) -> list[list[Box]]:
    """Rules that touch one another, or what others of a group enclose."""
    groups: list[tuple[Box, list[Box]]] = []
    for rule in sorted(rules, key=lambda rule: rule[1]):
        box, members = rule, [rule]
        apart: list[tuple[Box, list[Box]]] = []
        for group in groups:
            if _touch(rule, group[0]):
                box = union((box, group[0]))
                members += group[1]
            else:
                apart.append(group)
        groups = [*apart, (box, members)]
    return [members for _, members in groups]


def _grid(rules: Sequence[Box]) -> Table | None:
    box = union(rules)
    across = [rule for rule in rules if rule[2] - rule[0] >= rule[3] - rule[1]]
    down = [rule for rule in rules if rule[2] - rule[0] < rule[3] - rule[1]]
    if not across or not down:
        return None
    rows = _edges([(rule[1] + rule[3]) / 2 for rule in across], box[1], box[3])
    columns = _edges([(rule[0] + rule[2]) / 2 for rule in down], box[0], box[2])
    if len(rows) <= _LEAST_ROWS or len(columns) <= _LEAST_COLUMNS:
        return None
    return Table(box, rows, columns, [])


def _edges(positions: Sequence[float], first: float, last: float) -> tuple[float, ...]:
    """The positions, of which those close to each other are one, from `first` to `last`: tables may be open there."""
    edges: list[float] = []
    for position in sorted((first, *positions, last)):
        if not edges or position - edges[-1] > _TOLERANCE:
            edges.append(position)
    return tuple(edges)


def _index(edges: Sequence[float], position: float) -> int:
    return min(max(bisect_right(edges, position) - 1, 0), len(edges) - 2)


def _touch(one: Box, other: Box) -> bool:
    return (
        one[0] <= other[2] + _TOLERANCE
        and other[0] <= one[2] + _TOLERANCE
        and one[1] <= other[3] + _TOLERANCE
        and other[1] <= one[3] + _TOLERANCE
    )


def _is_within(box: Box, table: Box) -> bool:
    across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return table[0] <= across <= table[2] and table[1] <= down <= table[3]
