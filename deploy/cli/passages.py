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
_WORD = re.compile(r"[^\W\u2e80-\u9fff\uac00-\ud7af]{3,}")
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
    """The `width` characters of the text that hold most matches, on one line, its matches highlighted."""
    text = " ".join(text.split())
    matches = [match.start() for match in wanted.finditer(text)] if wanted else []
    start = max(matches, key=lambda at: (sum(at <= other < at + width for other in matches), -at), default=0)
    # A little of what stands before the first match, and then from the beginning of a word.
    start = max(0, min(start - width // 4, len(text) - width))
    if start and " " in text[start : start + 20]:
        start = text.index(" ", start) + 1
    shown = text[start : start + width]
    result = Text.assemble(("… ", "dim") if start else "", shown, (" …", "dim") if start + width < len(text) else "")
    if wanted:
        result.highlight_regex(wanted, "bold yellow")
    return result


def pattern(query: str) -> re.Pattern[str] | None:
    words = {rf"\b{re.escape(word)}\b" for word in _WORD.findall(query)}
    pairs = {run[at : at + 2] for run in _CJK_RUN.findall(query) for at in range(len(run) - 1)}
    terms = sorted(words | pairs)
    return re.compile("|".join(terms), re.IGNORECASE) if terms else None


def _dim_score(hit: Hit) -> tuple[str, str]:
    return f"   {hit.score:.3f}", "dim"
