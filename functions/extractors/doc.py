"""Word documents from before 2007, as functions/converters.py made text of them: a paragraph a line, cells by tabs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from common.records import Page
from functions.extractors import Options
from functions.extractors.tables import rows
from functions.pieces import Piece, in_records


def extract(path: Path, options: Options) -> Iterator[Page]:  # noqa: ARG001 - as all extractors
    """One page. Raises nothing: what the converter prints is a text."""
    yield from in_records(_pieces(path))


def _pieces(path: Path) -> Iterator[Piece]:
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = (line.strip("\n\r\f ") for line in file)
        for is_table, group in groupby(filter(None, lines), key=lambda line: "\t" in line):
            if is_table:
                yield from rows((line.split("\t") for line in group), has_header=None)
            else:
                yield from map(Piece, group)
