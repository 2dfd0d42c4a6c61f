"""How documents are split: what a knowledge base may say of it, and what holds where it says nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from common.settings import Settings

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
        """The same, of a model that takes so many tokens at once."""
        return replace(self, size=min(self.size, max_tokens))
