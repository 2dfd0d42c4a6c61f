"""What the API answers, as its clients in Python hold it. Fields that are added later are passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the store for one document: send the bytes to `url` with exactly these headers."""

    document_id: str
    task_id: str
    method: str
    key: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task; `progress` is 0..100."""

    step_name: str
    step_order: int
    status: str
    progress: float
    details: dict[str, Any] | None = None
    error_message: str | None = None
    attempt: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its steps, in their order; `overall_progress` is 0..100."""

    task_id: str
    document_id: str | None
    type: str
    status: str
    overall_progress: float
    task_details: list[Step]
    error_message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    estimated_completion_time: datetime | None = None
    created_by: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def reason(self) -> str:
        """Why it did not complete, for a person."""
        if self.error_message:
            return self.error_message
        failed = (step for step in self.task_details if step.status == "FAILED")
        return next((f"{step.step_name} failed: {step.error_message}" for step in failed), self.status.lower())


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage: the characters [start, end) of its document's text."""

    document_id: str
    document_name: str
    version: int
    chunk: int
    page: int
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    hits: list[Hit]
    took_ms: float


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says: by server "ok" or what is wrong with it."""

    status: str
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.status == "ready"
