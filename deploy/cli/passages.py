"""Passages for a terminal: the part of each that the question is about, with its words highlighted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deploy.client import Hit

_EXCERPT_CHARACTERS = 240
# Words of other scripts whole; Chinese, Japanese and Korean, which have no spaces, as pairs of characters.
_WORD = re.compile(r"[^\W\u2e80-\u9fff\uac00-\ud7af]{4,}")
# A line break in Chinese is no space.
_CJK_BREAK = re.compile(r"(?<=[\u2e80-\u9fff\uff00-\uffef])\s+(?=[\u2e80-\u9fff\uff00-\uffef])")
_CJK_RUN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]{2,}")


def show(console: Console, query: str, hits: Sequence[Hit]) -> None:
    """Print the hits, best first: document and page, and below them the passage's best part."""
    wanted = pattern(query)
    for rank, hit in enumerate(hits, 1):
        where = Text.assemble((f"{rank}. ", "dim"), (hit.document_name, "bold"), f", page {hit.page}", _dim_score(hit))
        console.print(where, highlight=False)
        console.print(Padding(excerpt(hit.text, wanted), (0, 0, 0, 3)), highlight=False)
    if not hits:
        console.print("Nothing was found.")


def excerpt(text: str, wanted: re.Pattern[str] | None, width: int = _EXCERPT_CHARACTERS) -> Text:
    """The `width` characters of the text that hold most of what is wanted, on one line, with that highlighted."""
    text = " ".join(_CJK_BREAK.sub("", text).split())
    start = _best_start(text, wanted, width) if wanted else 0
    shown = text[start : start + width]
    result = Text.assemble(("… ", "dim") if start else "", shown, (" …", "dim") if start + width < len(text) else "")
    if wanted:
        result.highlight_regex(wanted, "bold yellow")
    return result


def _best_start(text: str, wanted: re.Pattern[str], width: int) -> int:
    """Where the window begins that holds most different matches: a little before its first, at a word's beginning."""
    matches = [(match.start(), match[0].lower()) for match in wanted.finditer(text)]

    def worth(start: int) -> tuple[int, int]:
        return len({word for at, word in matches if start <= at < start + width}), -start

    first = max((at for at, _ in matches), key=worth, default=0)
    start = max(0, min(first - width // 4, len(text) - width))
    return text.index(" ", start) + 1 if start and " " in text[start : start + 20] else start


def pattern(query: str) -> re.Pattern[str] | None:
    """What to look for in a passage: the question's longer words, and its pairs of Chinese characters."""
    words = {rf"\b{re.escape(word)}\b" for word in _WORD.findall(query)}
    pairs = {run[at : at + 2] for run in _CJK_RUN.findall(query) for at in range(len(run) - 1)}
    terms = sorted(words | pairs)
    return re.compile("|".join(terms), re.IGNORECASE) if terms else None


def _dim_score(hit: Hit) -> tuple[str, str]:
    return f"   {hit.score:.3f}", "dim"
