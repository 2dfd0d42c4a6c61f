"""Pages whose text can only be seen, read by OCR: page by page, each in a child of its own, within a document's budget.

So a page that fails, or takes too long, is missed alone, and whatever is missed is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from common.context import Context
from common.errors import Rejected
from common.jail import Limits
from common.records import Page, Source
from common.settings import Settings

# The zygote imports it; here it would bring OCR's models into the worker.
_TARGET = "functions.extractors.scanned:read"
_PACKAGE = "rapidocr"
MISSING = "OCR_MISSING"
# Of one page; a book has three million.
_OUTPUT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Scan:
    """A page for OCR, and how many characters of it there are without."""

    number: int
    characters: int


@dataclass(slots=True)
class Readings:
    """`files`: what was read, by page, as records. `missed`: why other pages were not, in a sentence each."""

    files: dict[int, Path] = field(default_factory=dict)
    missed: dict[int, Rejected] = field(default_factory=dict)
    characters: int = 0
    gained: int = 0

    def notes(self) -> dict[str, Any]:
        """For clients: how many pages were read so, which were not, and why the first of these was not."""
        notes: dict[str, Any] = {}
        if self.files:
            notes["ocr_pages"] = len(self.files)
        if self.missed:
            notes["unread_pages"] = ranges(sorted(self.missed))
            notes["unread_because"] = next(iter(self.missed.values())).message
        return notes


def missing(settings: Settings) -> str:
    """Why there is no OCR, as the end of a sentence; "" if there is."""
    if not settings.ocr:
        return "OCR is off (BRIGADE_OCR)"
    if find_spec(_PACKAGE) is None:
        return f"OCR is not installed (the package {_PACKAGE})"
    return ""


def read(ctx: Context, source: Source, document: Path, scans: Sequence[Scan], budgets: Mapping[str, Any]) -> Readings:
    """Read these pages of a document, writing beside it. `budgets`: what extractors must keep to.

    Raises what a run of the jail does for reasons that are none of the document's.
    """
    settings = ctx.services.settings
    readings = Readings()
    if reason := missing(settings):
        _miss(readings, scans, Rejected(f"Their text can only be seen, and {reason}.", code=MISSING))
        return readings
    deadline = time.monotonic() + settings.ocr_seconds
    options = {"media_type": source.media_type, "dpi": settings.ocr_dpi, "name": source.name, **budgets}
    for done, scan in enumerate(scans):
        if done == settings.ocr_pages or time.monotonic() > deadline:
            _miss(readings, scans[done:], _spent(settings, done))
            break
        output = document.with_name(f"scan-{scan.number}")
        try:
            found = ctx.services.ocr_jail.run(
                _TARGET,
                input=document,
                output=output,
                options={**options, "page": scan.number},
                limits=_limits(settings),
                check=ctx.check_cancelled,
            )
        except Rejected as refusal:
            readings.missed[scan.number] = refusal
        else:
            readings.files[scan.number] = output
            readings.characters += found["characters"]
            readings.gained += found["characters"] - scan.characters
        ctx.progress((done + 1) / len(scans))
    return readings


def merged(pages: Iterable[Page], readings: Readings, records: Callable[[Path], Iterator[Page]]) -> Iterator[Page]:
    """The document's pages, those that OCR read in place of what there was of them. `records` reads a file of them."""
    for number, same in groupby(pages, key=lambda page: page.number):
        file = readings.files.get(number)
        yield from same if file is None else records(file)


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as people write them: "1, 3–5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("–".join(map(str, run)) for run in runs)


def _miss(readings: Readings, scans: Iterable[Scan], reason: Rejected) -> None:
    readings.missed.update((scan.number, reason) for scan in scans)


def _spent(settings: Settings, done: int) -> Rejected:
    if done == settings.ocr_pages:
        reason = f"OCR reads {done:,} pages of one document at most (BRIGADE_OCR_PAGES)."
    else:
        reason = (
            f"OCR took {settings.ocr_seconds:g} seconds for {done:,} pages; that is its time (BRIGADE_OCR_SECONDS)."
        )
    return Rejected(reason, code="OCR_SPENT")


def _limits(settings: Settings) -> Limits:
    return Limits(
        wall_seconds=settings.ocr_page_seconds,
        cpu_seconds=settings.ocr_page_cpu_seconds,
        memory_bytes=settings.ocr_page_memory_bytes,
        output_bytes=_OUTPUT_BYTES,
        of="scanned page",
        settings="OCR_PAGE",
    )
