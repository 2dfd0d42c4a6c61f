"""PREPROCESS and SPLIT over the two books, against bare tokenization of the same text."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from common.embedding import Tokens
from common.manifest import TOKENIZER
from common.records import Chunk, Page
from common.settings import Settings
from functions.extractors import Options, pdf
from functions.ingest.extract import budgets
from functions.ingest.preprocess import preprocess
from functions.ingest.split import split
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, spread
from tests.unit.stand_ins import context

Say = Callable[[str], None]

_ROUNDS = 5
_LANGUAGES = ("English", "Chinese")
_WHAT = ("preprocess", "split", "bare tokenization")


@dataclass(slots=True)
class _Book:
    """A book's extracted pages, and what became of them."""

    pages: list[Page]
    clean: list[Page]
    chunks: list[Chunk]

    @property
    def text(self) -> str:
        return "".join(page.text + "\n" for page in self.clean)


def measure(corpus: Corpus, say: Say) -> Outcome:
    """Each in turn, several times, and the best of each: by CPU time. Bare: all of the text in one call, once."""
    outcome = Outcome("split, by CPU time")
    settings = Settings()
    tokens = Tokens(settings.model_dir)
    bare = Tokenizer.from_file(str(settings.model_dir / TOKENIZER))
    bare.no_truncation()
    bare.no_padding()
    for language, path in zip(_LANGUAGES, corpus.long_pdfs, strict=True):
        book = _Book(_extracted(path, settings), [], [])
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(_ROUNDS):
            _time(seconds["preprocess"], book, settings, tokens, _preprocess)
            _time(seconds["split"], book, settings, tokens, _split)
            began = time.process_time()
            bare.encode(book.text, add_special_tokens=False)
            seconds["bare tokenization"].append(time.process_time() - began)
        best = {what: min(seconds[what]) for what in _WHAT}
        say(f"{language}: " + ", ".join(f"{what} {took:.2f} s" for what, took in best.items()))
        outcome.figures += [
            *(Figure(f"{language}: {what}", round(took, 2), "s") for what, took in best.items()),
            Figure(f"{language}: split ÷ bare tokenization", round(best["split"] / best["bare tokenization"], 2)),
            Figure(
                f"{language}: preprocess ÷ bare tokenization",
                round(best["preprocess"] / best["bare tokenization"], 2),
            ),
        ]
        outcome.data[language] = {
            "characters": len(book.text),
            "chunks": len(book.chunks),
            "cpu_seconds": {what: spread(seconds[what]) for what in _WHAT},
        }
    return outcome


def _time(
    seconds: list[float],
    book: _Book,
    settings: Settings,
    tokens: Tokens,
    step: Callable[[_Book, Settings, Tokens], None],
) -> None:
    began = time.process_time()
    step(book, settings, tokens)
    seconds.append(time.process_time() - began)


def _preprocess(book: _Book, settings: Settings, tokens: Tokens) -> None:
    book.clean = list(preprocess(context(settings=settings, tokens=tokens), book.pages))


def _split(book: _Book, settings: Settings, tokens: Tokens) -> None:
    book.chunks = list(split(context(settings=settings, tokens=tokens), book.clean))


def _extracted(path: Path, settings: Settings) -> list[Page]:
    return list(pdf.extract(path, Options(name=path.name, **budgets(settings))))
