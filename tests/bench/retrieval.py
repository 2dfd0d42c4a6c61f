"""Does a question find its answer? Headings of Debian's manuals, in English and Chinese, against their sections.

A section that is asked for loses its own heading (its number stays, so that it is still a section), and keeps those
above it. A book in both languages is one knowledge base. What could be chosen was chosen by the reference alone, so
that nothing is tuned to the guide and to the handbook, half of whose Chinese edition is still English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from common.chunking import Chunking
from common.context import Context, Target
from common.index import Hit, Mode, Row
from common.records import Chunk, EmbeddedChunk, Page
from common.services import Services
from functions.extractors import Options, html
from functions.http.search import DEPTHS
from functions.ingest.preprocess import preprocess
from functions.ingest.split import split
from functions.pieces import Piece, in_records, pieces_of
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome
from tests.bench.system import System
from tests.bench.throughput import Say

MODES: tuple[Mode, ...] = ("dense", "keyword", "hybrid")
LANGUAGES = {"en": "English", "zh-cn": "Chinese"}
BOOKS = ("reference", "guide", "handbook")
_NUMBERED = re.compile(r"(?P<number>\d+(?:\.\d+)+)\.\s+(?P<heading>.+)", re.DOTALL)
_CJK = re.compile("[\u4e00-\u9fff]")
# A section with less says nothing of its own.
_LEAST_CHARACTERS = 200
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Question:
    """`answers`: the chunks, as (document, number), that begin in the section."""

    text: str
    language: str
    answers: frozenset[tuple[str, int]]


class Chapter(NamedTuple):
    """`sections`: those that are asked for, as (heading, start, end) in its text."""

    document: str
    chunks: list[Chunk]
    sections: list[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares of the questions: those whose answer is the first hit, among the first five, and the mean of 1 / rank."""

    first: float
    five: float
    mrr: float
    questions: int

    @classmethod
    def of(cls, ranks: list[int | None]) -> Scores:
        def share(most: int) -> float:
            return sum(rank is not None and rank <= most for rank in ranks) / len(ranks)

        return cls(share(1), share(5), sum(1 / rank for rank in ranks if rank) / len(ranks), len(ranks))


def measure(system: System, corpus: Corpus, say: Say) -> Outcome:
    services = Services(system.settings)
    figures: list[Figure] = []
    with closing(services):
        for book in BOOKS:
            questions = fill(services, corpus, book, Chunking.usual(system.settings), say)
            for language in LANGUAGES:
                table = {mode: ask(services, questions, book, mode, language) for mode in MODES}
                figures += _figures(f"{book}, {LANGUAGES[language]}", table)
    return Outcome("retrieval", figures)


def _figures(what: str, table: dict[Mode, Scores]) -> Iterator[Figure]:
    """That the whole is better than its parts is what fusion is for."""
    parts = [scores for mode, scores in table.items() if mode != "hybrid"]
    for mode, scores in table.items():
        for name, value in (("recall@1", "first"), ("recall@5", "five"), ("MRR@10", "mrr")):
            # The mean of 1 / rank weighs all ranks; of the other two a question more or less is as likely.
            bar = max(part.mrr for part in parts) if mode == "hybrid" and value == "mrr" else None
            figure = f"{what} ({scores.questions} questions), {mode}: {name}"
            yield Figure(figure, round(getattr(scores, value), 3), at_least=bar and round(bar, 3))


def fill(services: Services, corpus: Corpus, book: str, chunking: Chunking, say: Say) -> list[Question]:
    """A book in both languages into the index, as the chain would put it there."""
    questions: list[Question] = []
    chunks = 0
    for language in LANGUAGES:
        asked: list[tuple[str, str, int, int]] = []
        starts: dict[str, list[tuple[int, int]]] = {}
        for document, made, sections in split_chapters(services, corpus, book, language, chunking):
            services.index.upsert(_rows(services, book, document, made))
            starts[document] = [(chunk.start, chunk.number) for chunk in made]
            asked += ((heading, document, start, end) for heading, start, end in sections)
            chunks += len(made)
        times = Counter(heading for heading, *_ in asked)
        for heading, document, start, end in asked:
            answers = frozenset((document, number) for at, number in starts[document] if start <= at < end)
            if times[heading] == 1 and answers:
                questions.append(Question(heading, language, answers))
        say(f"{book}, {LANGUAGES[language]}: {chunks:,} chunks so far")
    services.index.flush()
    return questions


def split_chapters(
    services: Services, corpus: Corpus, book: str, language: str, chunking: Chunking
) -> Iterator[Chapter]:
    for path in corpus.chapters(book, language):
        document = f"{book}_{language}_{path.stem}".replace(".", "_")
        pages, sections = read(services, path, chunking)
        yield Chapter(document, list(split(_context(services, document, chunking), pages)), sections)


def read(services: Services, path: Path, chunking: Chunking) -> tuple[list[Page], list[tuple[str, int, int]]]:
    """A chapter's clean pages without the headings that are asked for; these, each with its section's offsets."""
    options = Options(path.name, max_inflated_bytes=0, max_pages=10_000, max_characters=1 << 30)
    pieces = [piece for page in html.extract(path, options) for piece in pieces_of(page)]
    wanted = dict(_wanted(pieces, "zh" in path.parent.name))
    bare = in_records(_without(pieces, wanted))
    pages = list(preprocess(_context(services, path.name, chunking), bare))
    return pages, list(_spans(pages, wanted))


def _wanted(pieces: list[Piece], chinese: bool) -> Iterator[tuple[str, str]]:
    """Number and heading of each section that has text of its own and none below it."""
    sections: list[tuple[Piece, int]] = []
    for piece in pieces:
        if piece.kind == "heading":
            sections.append((piece, 0))
        elif sections:
            sections[-1] = (sections[-1][0], sections[-1][1] + len(piece.text))
    levels = [heading.level for heading, _ in sections[1:]] + [0]
    for (heading, length), following in zip(sections, levels, strict=True):
        found = _NUMBERED.fullmatch(heading.text)
        if not found or length < _LEAST_CHARACTERS or following > heading.level:
            continue
        if not chinese or _CJK.search(found["heading"]):
            yield found["number"], " ".join(found["heading"].split())


def _without(pieces: Iterable[Piece], wanted: dict[str, str]) -> Iterator[Piece]:
    for piece in pieces:
        found = _NUMBERED.fullmatch(piece.text) if piece.kind == "heading" else None
        yield Piece(found["number"], "heading", piece.level) if found and found["number"] in wanted else piece


def _spans(pages: list[Page], wanted: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    offset = 0
    opened: tuple[str, int] | None = None
    for page in pages:
        for block in page.blocks:
            if block.kind != "heading":
                continue
            start = offset + block.start
            if opened:
                yield *opened, start
            heading = wanted.get(page.text[block.start : block.end])
            opened = (heading, start) if heading else None
        offset += len(page.text) + 1
    if opened:
        yield *opened, offset


def ask(services: Services, questions: list[Question], book: str, mode: Mode, language: str) -> Scores:
    ranks: list[int | None] = []
    for question in questions:
        if question.language == language:
            vector = None if mode == "keyword" else services.embedder.embed_query(question.text)
            found = services.index.search(question.text, vector, depth=DEPTHS[0], mode=mode, knowledge_base_ids=[book])
            ranks.append(_rank(found.hits, question))
    return Scores.of(ranks)


def _rank(hits: list[Hit], question: Question) -> int | None:
    best = islice(hits, _DEEPEST)
    return next((rank for rank, hit in enumerate(best, 1) if (hit.document_id, hit.chunk) in question.answers), None)


def _rows(services: Services, book: str, document: str, chunks: list[Chunk]) -> Iterator[Row]:
    vectors = services.embedder.embed_passages([chunk.passage for chunk in chunks])
    for chunk, vector in zip(chunks, vectors, strict=True):
        yield Row(document, 1, book, EmbeddedChunk(chunk, vector.astype("<f4").tobytes()))


def _context(services: Services, document: str, chunking: Chunking) -> Context:
    target = Target("bench", document, 1, "bench", document, "", "", "", chunking=chunking)
    return Context(target, services)
