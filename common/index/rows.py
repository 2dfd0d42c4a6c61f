"""What goes into the index and what comes out, and the filters, built from checked ids and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from common.errors import Rejected
from common.records import EmbeddedChunk, Place

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
    """A passage that was found. `score`: higher is better, comparable within one answer only. `found_by`: the lists
    that have it, "dense" and "keyword"."""

    document_id: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    score: float = 0.0
    found_by: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, int]:
        return self.document_id, self.version, self.chunk


@dataclass(frozen=True, slots=True)
class Found:
    """`complete`: there is nothing more to be found, however deep one looks."""

    hits: list[Hit]
    complete: bool


_PLAIN_FIELDS = ("document_id", "version", "chunk", "page", "start", "end")
_FIELDS = (*_PLAIN_FIELDS, "skip", "places", "passage")

# Of a SHA-256 in hex: 128 bits.
HASH_CHARACTERS = 32
# Lines of a chunk whose places are kept: what is longer is no page of a book.
_MOST_PLACES = 500


def hit_fields(*, plain: bool = False) -> list[str]:
    """What `decode` needs. `plain`: of a collection of the first release."""
    return [*_PLAIN_FIELDS, "text"] if plain else list(_FIELDS)


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


def of_document(document_id: str) -> str:
    """A filter: every row of the document."""
    return f'document_id == "{checked(document_id)}"'


def of_versions(document_id: str, versions: Iterable[int]) -> str:
    """A filter: the rows of these versions of the document."""
    numbers = ", ".join(str(int(version)) for version in versions)
    return f"{of_document(document_id)} and version in [{numbers}]"


def of_chunks(document_id: str, *, before: int, hashes: Iterable[str]) -> str:
    """A filter: those rows of versions before this one whose passages have one of these hashes."""
    return f"{of_document(document_id)} and version < {int(before)} and {one_of('hash', hashes)}"


def encode(row: Row) -> dict[str, Any]:
    """As Milvus takes it. Raises `Rejected` for a text that no Milvus field can hold."""
    chunk = row.embedded.chunk
    passage = chunk.passage
    if len(passage.encode()) > MAX_TEXT_BYTES:
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
        "skip": len(passage) - len(chunk.text),
        "places": _encoder.encode(chunk.places[:_MOST_PLACES]).decode(),
        "hash": hash_of(passage),
        "passage": passage,
        "dense": np.frombuffer(row.embedded.vector, dtype="<f4"),
    }


def decode(entity: Mapping[str, Any], score: float = 0.0, found_by: tuple[str, ...] = ()) -> Hit:
    common = {name: entity[name] for name in _PLAIN_FIELDS}
    if "passage" not in entity:
        return Hit(**common, text=entity["text"], score=score, found_by=found_by)
    passage, skip = entity["passage"], entity["skip"]
    return Hit(
        **common,
        text=passage[skip:],
        headings=tuple(passage[:skip].splitlines()),
        places=_places.decode(entity["places"]),
        score=score,
        found_by=found_by,
    )


def hash_of(passage: str) -> str:
    """What tells whether two passages are the same, and so have the same vector."""
    return hashlib.sha256(passage.encode()).hexdigest()[:HASH_CHARACTERS]


_encoder = msgspec.json.Encoder()
_places = msgspec.json.Decoder(tuple[Place, ...])
