"""What a search takes, and what the API answers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from deploy.client.shapes import Place

Span = tuple[int, int]
"""The characters [start, end) of a passage's text."""


class SearchOptions(TypedDict, total=False):
    """What is left out, or None, is the API's to choose.

    `top_k`: hits of one answer. `mode`: hybrid, dense (by meaning) or keyword. `knowledge_base`: the id or name of one,
    or several; none: all that the caller may read. `documents`: the ids of the only ones to look in. `filters`: as in
    {"file_type": "pdf", "created_at": {"gte": "2026-01-01T00:00:00Z"}}, see common/document_filters.py. `neighbours`:
    so many chunks before and after each hit come with it.
    """

    top_k: int
    mode: str
    knowledge_base: str | Sequence[str] | None
    documents: Sequence[str] | None
    filters: Mapping[str, Any] | None
    neighbours: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A chunk before or after a hit; it may repeat some of what the hit has."""

    chunk: int
    page: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage: the characters [start, end) of its document's text. Pages begin at 1.

    `headings`: those it stands under, the highest first. `places`: its lines, of formats that have places. `found_by`:
    dense (by meaning), keyword, or both. `highlights`: where its text has the question's words. `before`, `after`: the
    chunks around it, in the document's order, if they were asked for.
    """

    document_id: str
    document_name: str
    knowledge_base_id: str
    knowledge_base_name: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float
    headings: list[str]
    places: list[Place]
    found_by: list[str]
    highlights: list[Span]
    before: list[Neighbour]
    after: list[Neighbour]


@dataclass(frozen=True, slots=True)
class Answer:
    """The best hits first. `next_cursor` None: there is no more."""

    hits: list[Hit]
    took_ms: float
    next_cursor: str | None
