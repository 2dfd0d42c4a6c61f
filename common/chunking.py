"""How documents are split: what a knowledge base may say of it, and what holds where it says nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from common.settings import Settings

# What the headings above a chunk may take of what the model reads at once; of one that reads little, a share of it.
HEADING_TOKENS = 48
_HEADING_SHARE = 4

Boundary = Literal["heading", "page"]
"""Where a chunk ends in any case: where a section does, and a page; or only where a page does."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """In tokens of the embedding model: the largest chunk, and how much of one its successor repeats."""

    size: int
    overlap: int = 0
    by: Boundary = "heading"

    @classmethod
    def usual(cls, settings: Settings) -> Chunking:
        return cls(settings.chunk_tokens, settings.chunk_overlap_tokens, settings.chunk_by)

    def within(self, max_tokens: int) -> Chunking:
        """The same, of a model that takes so many tokens at once: a chunk and the headings above it."""
        return replace(self, size=min(self.size, largest(max_tokens)))


def heading_room(max_tokens: int) -> int:
    """How many tokens the headings above a chunk may have, of a model that takes so many at once."""
    return min(HEADING_TOKENS, max_tokens // _HEADING_SHARE)


def largest(max_tokens: int) -> int:
    """The largest chunk of a model that takes so many tokens at once."""
    return max_tokens - heading_room(max_tokens)
