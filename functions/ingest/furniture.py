"""Running heads and page numbers: what stands on page after page at its edge, and is no part of the text."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from common.records import Page
from functions.pieces import Piece, compose, pieces_of

# Pages on each side among which a running head recurs: those of left and right pages alternate, and chapters are short.
_AROUND = 8
# On so many of them beside its own: what stands twice may be chance.
_RECURS = 2
# Blocks at the upper and the lower edge that may be furniture.
_AT_EDGE = 2
# Points by which its place may differ from page to page.
_SHIFT = 6.0
_LONGEST = 200
_DIGITS = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")
# A page's number and what goes with it: 12, xii, - 12 -, 3 / 10, Page 3 of 10, 第 3 页, 共 10 页.
_NUMBER = re.compile(
    r"[-–—|·\s]*(?:page|p\.|seite|第)?\s*(?:\d{1,5}|[ivxlcdm]{1,8})\s*(?:页|頁)?"
    r"\s*(?:(?:/|of|von|,?\s*共)\s*\d{1,5}\s*(?:页|頁)?)?[-–—|·\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A block at an edge: its text without numbers, and the height at which it stands."""

    index: int
    form: str
    top: float


def without_furniture(pages: Iterable[Page], note: Callable[..., Any]) -> Iterator[Page]:
    """The pages without what recurs at their edges; the first of each running head stays, so that it can be found.

    Only where lines have places: there, a page waits for the next eight. Notes `furniture`: how many blocks were taken.
    """
    pages = iter(pages)
    for page in pages:
        if page.lines:
            yield from _without(chain([page], pages), note)
            return
        yield page
        if page.text.strip():
            break
    yield from pages


def _without(pages: Iterable[Page], note: Callable[..., Any]) -> Iterator[Page]:
    taken = 0
    known: set[str] = set()
    for page, candidates, others in _with_others(pages):
        counts = Counter(_recurring(candidates, others))
        gone = set()
        for candidate in candidates:
            if counts[candidate] < _RECURS:
                continue
            if _is_number(candidate) or candidate.form in known:
                gone.add(candidate.index)
            known.add(candidate.form)
        pieces = list(pieces_of(page)) if gone else []
        if gone and len(gone) == len(pieces):
            # All that the page says: a ticket of many, an index card. Better a head too many than a page too few.
            gone = {candidate.index for candidate in candidates if candidate.index in gone and _is_number(candidate)}
        if gone:
            taken += len(gone)
            note(furniture=taken)
            page = compose(page.number, [piece for index, piece in enumerate(pieces) if index not in gone])
        yield page


_Looked = tuple[Page, list[_Candidate]]


def _with_others(pages: Iterable[Page]) -> Iterator[tuple[Page, list[_Candidate], list[list[_Candidate]]]]:
    """Each page with its candidates and those of the pages around it."""
    looked = ((page, _candidates(page)) for page in pages)
    before: deque[list[_Candidate]] = deque(maxlen=_AROUND)
    ahead: deque[_Looked] = deque(islice(looked, _AROUND + 1))
    while ahead:
        page, candidates = ahead.popleft()
        others = [*before, *(found for _, found in ahead)]
        yield page, candidates, others
        before.append(candidates)
        ahead.extend(islice(looked, 1))


def _is_number(candidate: _Candidate) -> bool:
    return bool(_NUMBER.fullmatch(candidate.form.replace("#", "1")))


def _candidates(page: Page) -> list[_Candidate]:
    if not page.lines:
        return []
    placed = [(index, piece) for index, piece in enumerate(pieces_of(page)) if piece.lines]
    upper = sorted(placed, key=lambda one: _top(one[1]))[:_AT_EDGE]
    lower = sorted(placed, key=lambda one: _bottom(one[1]))[-_AT_EDGE:]
    found = {index: piece for index, piece in (*upper, *lower) if len(piece.text) <= _LONGEST}
    return [_Candidate(index, _form(piece.text), _top(piece)) for index, piece in sorted(found.items())]


def _recurring(candidates: list[_Candidate], others: list[list[_Candidate]]) -> Iterator[_Candidate]:
    """Each candidate once for every other page that has it, too."""
    for other in others:
        for candidate in candidates:
            if any(one.form == candidate.form and abs(one.top - candidate.top) <= _SHIFT for one in other):
                yield candidate


def _form(text: str) -> str:
    bare = _SPACES.sub(" ", text).strip().casefold()
    # Roman numbers change from page to page as others do.
    return "#" if _NUMBER.fullmatch(bare) else _DIGITS.sub("#", bare)


def _top(piece: Piece) -> float:
    return min(line.box[1] for line in piece.lines)


def _bottom(piece: Piece) -> float:
    return max(line.box[3] for line in piece.lines)
