"""Passages for a terminal: where each stands, and the part of it that the question is about."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deploy.cli.output import plain
from deploy.client import Hit, Span

_EXCERPT_CHARACTERS = 240
_INDENT = (0, 0, 0, 3)
_SPACE = re.compile(r"\s+")
_LISTS = {"dense": "meaning", "keyword": "words"}


def show(console: Console, hits: Sequence[Hit]) -> None:
    """Print the hits, best first: where each is, the headings it stands under, and its best part; all of it,
    with its own line breaks, where its neighbours come with it. The knowledge base is told where there are several."""
    several = len({hit.knowledge_base_id for hit in hits}) > 1
    for rank, hit in enumerate(hits, 1):
        console.print(_where(rank, hit, several), highlight=False, soft_wrap=True)
        if hit.headings:
            path = " › ".join(plain(heading) for heading in hit.headings)
            console.print(Padding(Text(path, "italic cyan"), _INDENT), highlight=False)
        for part in _parts(hit):
            console.print(Padding(part, _INDENT), highlight=False)
    if not hits:
        console.print("Nothing was found.")


def excerpt(text: str, highlights: Sequence[Span]) -> Text:
    """The part of the text that holds most different words of the question, on one line, with those highlighted."""
    text, highlights = _one_line(text, highlights)
    start = _best_start(text, highlights)
    end = start + _EXCERPT_CHARACTERS
    shown = Text(text[start:end])
    for first, last in highlights:
        if first < end and last > start:
            shown.stylize("bold yellow", max(first - start, 0), last - start)
    return Text.assemble(("… ", "dim") if start else "", shown, (" …", "dim") if end < len(text) else "")


def _where(rank: int, hit: Hit, several: bool) -> Text:
    lists = " and ".join(_LISTS.get(name, name) for name in hit.found_by)
    base = f", in {plain(hit.knowledge_base_name)}" if several else ""
    return Text.assemble(
        (f"{rank}. ", "dim"),
        (plain(hit.document_name), "bold"),
        f", version {hit.version}, page {hit.page}{base}",
        (f"   {hit.score:.3f} by {lists}", "dim"),
    )


def _parts(hit: Hit) -> Iterator[Text]:
    if not hit.before and not hit.after:
        yield excerpt(hit.text, hit.highlights)
        return
    # Chunks may repeat each other's ends, which nobody reads twice.
    starts = [*(chunk.start for chunk in hit.before), hit.start]
    for chunk, until in zip(hit.before, starts[1:], strict=True):
        yield _aside(chunk.text[: max(until - chunk.start, 0)])
    yield _whole(hit.text, hit.highlights)
    at = hit.end
    for chunk in hit.after:
        yield _aside(chunk.text[max(at - chunk.start, 0) :])
        at = chunk.end


def _aside(text: str) -> Text:
    return Text(plain(text, lines=True).strip("\n"), "dim")


def _whole(text: str, highlights: Sequence[Span]) -> Text:
    shown = Text(plain(text, lines=True))
    for first, last in highlights:
        shown.stylize("bold yellow", first, last)
    shown.rstrip()
    return shown


def _one_line(text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Without line breaks, and where the spans are then."""
    text = plain(text, lines=True)
    kept: list[int] = []
    at = 0
    for run in _SPACE.finditer(text):
        first, last = run.span()
        kept += range(at, first + (first > 0 and last < len(text)))
        at = last
    kept += range(at, len(text))
    line = "".join(" " if text[one].isspace() else text[one] for one in kept)
    return line, [(bisect_left(kept, first), bisect_left(kept, last)) for first, last in spans]


def _best_start(text: str, highlights: Sequence[Span]) -> int:
    """Where the window begins that holds most different words: a little before its first, at a word's beginning."""
    width = _EXCERPT_CHARACTERS
    words = [(first, text[first:last].casefold()) for first, last in highlights]

    def worth(start: int) -> tuple[int, int]:
        return len({word for at, word in words if start <= at < start + width}), -start

    first = max((at for at, _ in words), key=worth, default=0)
    start = max(0, min(first - width // 4, len(text) - width))
    return text.index(" ", start) + 1 if start and " " in text[start : start + 20] else start
