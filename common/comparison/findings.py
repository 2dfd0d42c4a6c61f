"""What a comparison can find, in words, and how many of each it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

# Of each kind: enough to see what they have in common.
_EXAMPLES = 5


class Kind(StrEnum):
    MISSING_VECTORS = "missing_vectors"
    SURPLUS_VECTORS = "surplus_vectors"
    ORPHAN_VECTORS = "orphan_vectors"
    STRAY_ARTIFACTS = "stray_artifacts"
    MISSING_ARTIFACTS = "missing_artifacts"
    MISSING_OBJECTS = "missing_objects"
    UNTIDY_TASKS = "untidy_tasks"
    UNFINISHED_REMOVALS = "unfinished_removals"


@dataclass(frozen=True, slots=True)
class Words:
    """`what` is wrong, of how many `subjects` and `items`; what a repair does.

    `safe`: it takes only what nobody reads.
    """

    what: str
    subjects: str
    items: str
    repair: str
    safe: bool = False


WORDS = {
    Kind.MISSING_VECTORS: Words(
        "Search does not find all passages of these documents: Milvus lacks some of their vectors.",
        "documents",
        "vectors",
        "processes these documents again; their present versions show meanwhile",
    ),
    Kind.SURPLUS_VECTORS: Words(
        "Milvus holds vectors beyond the last chunk of the version that search shows.",
        "documents",
        "vectors",
        "deletes those vectors",
        safe=True,
    ),
    Kind.ORPHAN_VECTORS: Words(
        "Milvus holds vectors of versions that do not show and that nobody is making, or of no document at all.",
        "versions",
        "vectors",
        "deletes those vectors",
        safe=True,
    ),
    Kind.STRAY_ARTIFACTS: Words(
        "The store keeps artifacts that nobody needs: their tasks are unknown, or have been cleared up.",
        "tasks",
        "objects",
        "deletes those artifacts",
        safe=True,
    ),
    Kind.MISSING_ARTIFACTS: Words(
        "The store lacks artifacts that tasks go on from, or that a document's text and chunks are read from.",
        "tasks",
        "artifacts",
        "processes these documents again; their present versions show meanwhile",
    ),
    Kind.MISSING_OBJECTS: Words(
        "These documents show, but the store says that their objects are gone: their removal was never told.",
        "documents",
        "objects",
        "deletes these documents, as their removal would have",
    ),
    Kind.UNTIDY_TASKS: Words(
        "Ended tasks were not cleared up in time: is `brigade scheduler` running, and what does it log?",
        "tasks",
        "tasks",
        "clears them up now",
        safe=True,
    ),
    Kind.UNFINISHED_REMOVALS: Words(
        "These documents were deleted, but the task that does so has failed, or there is none.",
        "documents",
        "documents",
        "begins to delete them again",
    ),
}


class Finding(msgspec.Struct, kw_only=True):
    """`count`: of the subjects; `items`: of what is missing or too much. `repaired`: subjects, done or begun."""

    kind: Kind
    what: str
    count: int = 0
    items: int = 0
    repaired: int = 0
    not_repaired: str | None = None
    repair: str
    examples: list[str]

    @property
    def left(self) -> int:
        return self.count - self.repaired


class Report(msgspec.Struct, kw_only=True, frozen=True):
    """`compared`: how much was looked at, by what it is. `clean`: nothing was found, or all of it is repaired."""

    clean: bool
    findings: list[Finding]
    compared: dict[str, int]
    seconds: float


@dataclass(slots=True)
class Findings:
    """Counts as they come, in constant memory."""

    by_kind: dict[Kind, Finding] = field(default_factory=dict)

    def add(self, kind: Kind, example: str, items: int = 1, *, repaired: bool) -> None:
        """One subject, in words, with its number of items."""
        found = self._of(kind)
        found.count += 1
        found.items += items
        found.repaired += repaired
        if len(found.examples) < _EXAMPLES:
            found.examples.append(example)

    def refuse(self, kind: Kind, reason: str) -> None:
        """Say why what was found is not repaired."""
        self._of(kind).not_repaired = reason

    def all(self) -> list[Finding]:
        return [self.by_kind[kind] for kind in Kind if kind in self.by_kind]

    def _of(self, kind: Kind) -> Finding:
        words = WORDS[kind]
        return self.by_kind.setdefault(kind, Finding(kind=kind, what=words.what, repair=words.repair, examples=[]))
