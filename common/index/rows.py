"""What goes into the index and what comes out, and the filters, built from checked ids and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import Rejected
from common.records import EmbeddedChunk

# Milvus's largest VARCHAR, in bytes of UTF-8.
MAX_TEXT_BYTES = 65_535

# Filters are text that Milvus parses: whatever cannot leave its quotes is safe in them.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk of one document version. Its id is derived, so that writing it again replaces it."""

    document_id: str
    version: int
    knowledge_base_id: str
    embedded: EmbeddedChunk

    @property
    def id(self) -> str:
        return f"{checked(self.document_id)}:{self.version}:{self.embedded.chunk.number}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found. `score`: higher is better, comparable within one answer only."""

    document_id: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float


HIT_FIELDS = ("document_id", "version", "chunk", "page", "start", "end", "text")


def is_ours(identifier: str) -> bool:
    """Whether it is 1 to 64 letters, digits, `_` and `-`, as all that we write."""
    return _ID.fullmatch(identifier) is not None


def checked(identifier: str) -> str:
    """The same id, or ValueError if it is none of ours."""
    if not is_ours(identifier):
        raise ValueError(f"Not an id: {identifier[:80]!r}")
    return identifier


def one_of(field: str, identifiers: Iterable[str]) -> str:
    """A filter: the field holds one of these ids."""
    quoted = ", ".join(f'"{checked(one)}"' for one in identifiers)
    return f"{field} in [{quoted}]"


def encode(row: Row) -> dict[str, Any]:
    """As Milvus takes it. Raises `Rejected` for a text that no Milvus field can hold."""
    chunk = row.embedded.chunk
    if len(chunk.text.encode()) > MAX_TEXT_BYTES:
        raise Rejected(
            f"Chunk {chunk.number} on page {chunk.page} is longer than {MAX_TEXT_BYTES:,} bytes.", code="CHUNK_TOO_LONG"
        )
    return {
        "id": row.id,
        "knowledge_base_id": checked(row.knowledge_base_id),
        "document_id": row.document_id,
        "version": row.version,
        "chunk": chunk.number,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "dense": np.frombuffer(row.embedded.vector, dtype="<f4"),
    }


def decode(found: Mapping[str, Any]) -> Hit:
    entity = found["entity"]
    return Hit(**{name: entity[name] for name in HIT_FIELDS}, score=float(found["distance"]))
