"""Pages of known text as pictures, through EXTRACT_TEXT: how much of it comes back right, and how fast."""

from __future__ import annotations

import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pymupdf

from common.jail import Jail
from common.records import Pin, Source
from common.settings import Settings
from functions.extractors import PNG, Options, pdf
from functions.ingest.extract import budgets, extract
from functions.pieces import pieces_of
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome
from tests.unit.stand_ins import MemoryObjects, context

Say = Callable[[str], None]

_TARGETS = {"English": 0.97, "Chinese": 0.95}
_A4 = pymupdf.paper_rect("a4")
_MARGIN, _LEADING = 60.0, 1.45
_PARAGRAPH_CHARACTERS = 150
_DEJAVU = Path("/usr/share/fonts/truetype/dejavu")
# MuPDF's own, which every machine has, and Debian's fonts-dejavu where it is installed.
_FONTS = {
    "English": ("helv", "tiro", "cour", _DEJAVU / "DejaVuSans.ttf", _DEJAVU / "DejaVuSerif.ttf"),
    "Chinese": ("china-s", "china-t", _DEJAVU.parent / "wqy/wqy-zenhei.ttc"),
}
_POINTS = 10.0
_DPI = (150, 200)


@dataclass(frozen=True, slots=True)
class Sample:
    """A page's text and its picture."""

    text: str
    png: bytes


def measure(corpus: Corpus, say: Say) -> Outcome:
    """A page for each font and resolution, of the two books' prose in turn."""
    outcome = Outcome("OCR")
    books = dict(zip(_TARGETS, corpus.long_pdfs, strict=True))
    jail = Jail()
    try:
        for language, book in books.items():
            seconds: list[float] = []
            shares: dict[str, list[float]] = defaultdict(list)
            for what, sample in _samples(language, book):
                began = time.monotonic()
                found = _read(sample.png, jail)
                seconds.append(time.monotonic() - began)
                shares[what].append(share_right(sample.text, found))
                say(f"{language}, {what}: {shares[what][-1]:.2%} in {seconds[-1]:.1f} s")
            every = [share for of_one in shares.values() for share in of_one]
            mean = sum(every) / len(every)
            # The first loads the models.
            pace = sum(seconds[1:]) / len(seconds[1:])
            outcome.figures += [
                Figure(f"{language}: characters right", round(100 * mean, 2), "%", at_least=100 * _TARGETS[language]),
                Figure(f"{language}: the worst page", round(100 * min(every), 2), "%"),
                Figure(f"{language}: a page", round(pace, 2), "s"),
            ]
            outcome.data[language] = {what: [round(one, 4) for one in of_one] for what, of_one in shares.items()}
    finally:
        jail.close()
    return outcome


def share_right(text: str, found: str) -> float:
    """1 − edit distance ÷ length, of what is left of both without the differences that PREPROCESS takes away."""
    text, found = _normal(text), _normal(found)
    return 1 - distance(text, found) / len(text)


def distance(text: str, other: str) -> int:
    """Levenshtein's, a column at a time in the bits of a number (Hyyrö 2003, after Myers 1999)."""
    if not text:
        return len(other)
    places: dict[str, int] = defaultdict(int)
    for index, character in enumerate(text):
        places[character] |= 1 << index
    every, last = (1 << len(text)) - 1, 1 << (len(text) - 1)
    up, down, count = every, 0, len(text)
    for character in other:
        same = places.get(character, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        right, left = down | ~(diagonal | up) & every, up & diagonal
        count += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & every, (left << 1) & every
        up, down = left | ~(diagonal | right) & every, right & diagonal
    return count


def _normal(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).replace("”", '"').replace("“", '"').replace("’", "'").replace("‘", "'")
    words = text.split()
    parts: list[str] = []
    for word in words:
        # Chinese is written without spaces, and beside it, they are taste.
        if parts and parts[-1][-1].isascii() and word[0].isascii():
            parts.append(" ")
        parts.append(word)
    return "".join(parts)


def _samples(language: str, book: Path) -> Iterator[tuple[str, Sample]]:
    prose = _prose(book, chinese=language == "Chinese")
    for name in _FONTS[language]:
        if isinstance(name, Path) and not name.exists():
            continue
        font = pymupdf.Font(fontfile=str(name)) if isinstance(name, Path) else pymupdf.Font(name)
        page, text = _page(prose, font, _POINTS)
        with page:
            for dpi in _DPI:
                what = f"{name.stem if isinstance(name, Path) else name} at {dpi} dpi"
                yield what, Sample(text, page[0].get_pixmap(dpi=dpi).tobytes("png"))


def _prose(book: Path, *, chinese: bool) -> Iterator[str]:
    """Paragraphs as one line each: English without any other script, Chinese with the English words that it has."""
    options = Options(name=book.name, **budgets(Settings()))
    for page in islice(pdf.extract(book, options), 40, None):
        for piece in pieces_of(page):
            text = piece.text.replace("\n", "" if chinese else " ").replace("\xa0", " ")
            is_english = text.replace("”", "").replace("’", "").isascii()
            is_long = len(text) >= _PARAGRAPH_CHARACTERS // (1 + chinese)
            if piece.kind == "paragraph" and is_long and (chinese or is_english):
                yield " ".join(text.split())


def _page(prose: Iterator[str], font: pymupdf.Font, size: float) -> tuple[pymupdf.Document, str]:
    """A page full of paragraphs, and their text."""
    document = pymupdf.open()
    page = document.new_page(width=_A4.width, height=_A4.height)
    writer = pymupdf.TextWriter(page.rect)
    base, told = _MARGIN + size, []
    for paragraph in prose:
        lines = list(_wrapped(paragraph, lambda text: font.text_length(text, size) <= _A4.width - 2 * _MARGIN))
        if base + len(lines) * _LEADING * size > _A4.height - _MARGIN:
            break
        for line in lines:
            writer.append((_MARGIN, base), line, font=font, fontsize=size)
            base += _LEADING * size
        base += size
        told.append(paragraph)
    writer.write_text(page)
    return document, "\n".join(told)


def _wrapped(paragraph: str, fits: Callable[[str], bool]) -> Iterator[str]:
    line = ""
    for word in _words(paragraph):
        if line and not fits(line + word.rstrip()):
            yield line.rstrip()
            line = ""
        line += word
    yield line.rstrip()


def _words(paragraph: str) -> Iterable[str]:
    """What a line may end after: words with their space, and each Chinese character."""
    word = ""
    for character in paragraph:
        word += character
        if character == " " or not character.isascii():
            yield word
            word = ""
    if word:
        yield word


def _read(png: bytes, jail: Jail) -> str:
    with TemporaryDirectory() as directory:
        settings = Settings(work_dir=Path(directory))
        ctx = context("page.png", objects=MemoryObjects(png), settings=settings, jail=jail, ocr_jail=jail)
        pages = extract(ctx, Source(Pin("b", "k", "e", 1), "page.png", PNG.media_type))
        return "\n".join(page.text for page in pages)
