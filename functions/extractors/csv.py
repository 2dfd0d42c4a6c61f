"""CSV and its kin (RFC 4180, and what programs write instead), read as a stream."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from common.records import Page
from functions.extractors import Options
from functions.extractors.tables import rows
from functions.extractors.text import decoded
from functions.pieces import in_records

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_ROWS = 50
# Excel's own way to name the delimiter.
_NAMED = "sep="
# What is too large for memory is the jail's business.
csv.field_size_limit(1 << 30)


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page, in records: rows with their headers. Notes `encoding`. Raises `Rejected` with BINARY_TEXT."""
    lines = _lines(decoded(path, options))
    sample, length = [], 0
    for line in lines:
        sample.append(line)
        length += len(line)
        if length > _SAMPLE_CHARACTERS:
            break
    lines = chain(sample, lines)
    if sample and sample[0].lower().startswith(_NAMED) and len(sample[0].strip("\n")) == len(_NAMED) + 1:
        delimiter = next(lines)[len(_NAMED)]
    else:
        delimiter = _delimiter("".join(sample)[:_SAMPLE_CHARACTERS])
    yield from in_records(rows(_cells(lines, delimiter), has_header=None))


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """The text's lines with their ends: by newlines alone, as all other ends of lines may stand within a cell."""
    held: list[str] = []
    for block in blocks:
        *whole, rest = block.split("\n")
        for line in whole:
            held.append(line)
            yield f"{''.join(held)}\n"
            held.clear()
        held.append(rest)
    if last := "".join(held):
        yield last


def _delimiter(sample: str) -> str:
    """The one by which most rows have the same number of cells, and the most of them."""
    return max(
        _DELIMITERS, key=lambda delimiter: _evenness(islice(_cells(io.StringIO(sample), delimiter), _SAMPLE_ROWS))
    )


def _evenness(cells: Iterable[Sequence[str]]) -> tuple[float, int]:
    widths = Counter(len(row) for row in cells if row)
    width, count = max(widths.items(), key=lambda item: item[1], default=(0, 0))
    return (count / widths.total(), width) if width > 1 else (0.0, 0)


def _cells(lines: Iterable[str], delimiter: str) -> Iterator[Sequence[str]]:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
