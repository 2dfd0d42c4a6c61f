"""The two books in every format through EXTRACT_TEXT: pages a second; and PDF against bare PyMuPDF."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pymupdf

from common.jail import Answer, Ended, Jail, Request
from common.records import Page, Pin, Source
from common.settings import Settings
from functions.extractors import PDF, ZIP, Format, Options, pdf
from functions.ingest.extract import budgets, extract, warm_up
from functions.pieces import Piece, pieces_of
from tests.bench import written
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome
from tests.unit.stand_ins import MemoryObjects, context

Say = Callable[[str], None]

_MB = 10**6
# A page of formats that have none, or whose pages are slides or sheets.
_PAGE_CHARACTERS = 2000
# Of each book, in all formats but its own: a hundred such pages.
_BOOK_CHARACTERS = 200_000
_ROUNDS = 3
# So many times what PyMuPDF takes to read a book's text and nothing else.
_PDF_AT_MOST = 4.0
_LANGUAGES = ("English", "Chinese")


@dataclass(frozen=True, slots=True)
class Reading:
    """One document read once. `cpu_seconds`: of the child and of this process, which reads what the child wrote.

    `peak_bytes`: the child's, what it shares with the zygote included.
    """

    characters: int
    text_bytes: int
    pages: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(corpus: Corpus, say: Say) -> Outcome:
    """Of several readings the best counts, by CPU time: so does it on a machine that does other things, too."""
    outcome = Outcome(f"extraction, by CPU time; a page of all but PDF is {_PAGE_CHARACTERS:,} characters")
    jail = _Watched()
    peak = 0
    try:
        with TemporaryDirectory() as directory:
            # A page of the English book can only be seen, and OCR has a measure of its own.
            settings = Settings(work_dir=Path(directory), ocr=False)
            warm_up(context(settings=settings, jail=jail).services)
            for name, kind, readings in _readings(corpus, settings, jail, outcome):
                best = min(readings, key=lambda one: one.cpu_seconds)
                pace = best.pages / best.cpu_seconds
                peak = max(peak, *(one.peak_bytes for one in readings))
                say(f"{name}: {best.pages} pages in {best.cpu_seconds:.2f} s")
                outcome.figures += [
                    Figure(name, round(pace, 1), "pages/s"),
                    Figure(f"{name}: text", round(best.text_bytes / _MB / best.cpu_seconds, 3), "MB/s"),
                ]
                outcome.data[name] = {"media_type": kind.media_type, "readings": [asdict(one) for one in readings]}
    finally:
        jail.close()
    outcome.figures.append(Figure("largest child", round(peak / _MB), "MB"))
    return outcome


def _readings(
    corpus: Corpus, settings: Settings, jail: _Watched, outcome: Outcome
) -> Iterator[tuple[str, Format, list[Reading]]]:
    """Each document with its readings. Those of PDF alternate with bare ones, and their ratio is noted."""
    pieces: list[Piece] = []
    for language, book in zip(_LANGUAGES, corpus.long_pdfs, strict=True):
        rounds = [(_bare_seconds(book), _read(book, PDF, settings, jail)) for _ in range(_ROUNDS)]
        bare, ours = min(one for one, _ in rounds), min(one.cpu_seconds for _, one in rounds)
        name = f"{PDF.name}, {language}"
        yield name, PDF, [one for _, one in rounds]
        outcome.figures.append(Figure(f"{name} ÷ bare", round(ours / bare, 2), "", at_most=_PDF_AT_MOST))
        outcome.data[f"{name}, bare"] = {"cpu_seconds": [one for one, _ in rounds]}
        pieces += _pieces(book, settings)
    for kind, write in written.WRITERS.items():
        content = write(pieces)
        readings = [_read(content, kind, settings, jail) for _ in range(_ROUNDS)]
        if kind is ZIP:
            # Its own text is a list: what counts is what it unfolds to.
            readings = [_as_of(written.text(pieces), one) for one in readings]
        yield kind.name, kind, readings


class _Watched(Jail):
    """A jail that keeps how its children ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Ended] = []

    def _run(self, request: Request, check: Callable[[], None]) -> tuple[Answer | None, Ended]:
        answer, ended = super()._run(request, check)
        self.ended.append(ended)
        return answer, ended


class _Alone:
    """The part of `Database` that the outermost archive needs, of which nothing is there yet."""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        nothing = SimpleNamespace(depth=0, others=0, size=0, own=0)
        yield SimpleNamespace(execute=lambda *_: SimpleNamespace(one=lambda: nothing, rowcount=1))

    @contextmanager
    def alone(self, _name: str) -> Iterator[bool]:
        yield True


class _Bucket(MemoryObjects):
    """Takes members, and drops them."""

    def listed(self, _bucket: str, _prefix: str) -> list[Any]:
        return []

    def put_stream(self, _key: str, content: Any, _size: int, **_: Any) -> None:
        content.read()


def _read(content: bytes | Path, kind: Format, settings: Settings, jail: _Watched) -> Reading:
    name = f"book{kind.suffixes[0]}"
    failpoints = SimpleNamespace(reach=lambda *_: None)
    ctx = context(
        name, objects=_Bucket(content), settings=settings, jail=jail, database=_Alone(), failpoints=failpoints
    )
    jail.ended.clear()
    began, cpu = time.monotonic(), time.process_time()
    found = _told(extract(ctx, Source(Pin("b", "k", "e", 1), name, kind.media_type)))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    characters, text_bytes, last = found
    pages = last if kind is PDF else -(-characters // _PAGE_CHARACTERS)
    cpu += sum(one.cpu_seconds for one in jail.ended)
    return Reading(characters, text_bytes, pages, seconds, cpu, max(one.peak_bytes for one in jail.ended))


def _told(pages: Iterator[Page]) -> tuple[int, int, int]:
    characters = text_bytes = last = 0
    for page in pages:
        characters += len(page.text)
        text_bytes += len(page.text.encode())
        last = page.number
    return characters, text_bytes, last


def _as_of(text: str, reading: Reading) -> Reading:
    pages = -(-len(text) // _PAGE_CHARACTERS)
    return Reading(len(text), len(text.encode()), pages, reading.seconds, reading.cpu_seconds, reading.peak_bytes)


def _pieces(book: Path, settings: Settings) -> Sequence[Piece]:
    """The first of the book: as many as `_BOOK_CHARACTERS` take."""
    held: list[Piece] = []
    room = _BOOK_CHARACTERS
    for page in pdf.extract(book, Options(name=book.name, **budgets(settings))):
        for piece in pieces_of(page):
            room -= len(piece.text)
            if room < 0:
                return written.plain(held)
            held.append(piece)
    return written.plain(held)


def _bare_seconds(book: Path) -> float:
    """CPU time of reading the text and nothing else, in this process, which has done so before."""
    began = time.process_time()
    with pymupdf.open(book) as document:
        for page in document:
            page.get_text()
    return time.process_time() - began
