"""What the API answers about dead letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up on. `state`: open, redriven, resolved. `size`: of its body, in bytes."""

    id: str
    queue: str
    code: str
    reason: str
    state: str
    times: int
    died_at: datetime
    last_died_at: datetime
    size: int
    task_id: str | None
    step_name: str | None
    document_id: str | None
    document_name: str | None
    redriven_at: datetime | None
    redriven_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterInput:
    """`kind`: body, object, or artifact: what the step `step_name` made. `first`, `last`: a batch's share, in bytes."""

    kind: str
    size: int | None
    step_name: str | None
    parts: int | None
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDeadLetter(DeadLetter):
    """`body_format`: json, text or base64. `complete` false: `body` is the beginning of it."""

    body: Any
    body_format: str
    complete: bool
    input: LetterInput


@dataclass(frozen=True, slots=True)
class SkippedLetter:
    id: str
    code: str
    reason: str

    @property
    def was_done(self) -> bool:
        """There was nothing to do any more, which is no failure."""
        return self.code in ("REDRIVEN", "RESOLVED")


@dataclass(frozen=True, slots=True)
class Redrive:
    """How many letters were sent again. `left`: of those that were asked for, how many are open still."""

    redriven: int
    left: int
    skipped: list[SkippedLetter] = field(default_factory=list)
    next_cursor: str | None = None
