"""What the API answers about uploads, documents and tasks. Fields that are added later are passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in points from the page's upper left corner; of a picture, in its pixels."""

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `next_cursor` None: there is no more."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class SignedPart:
    """PUT exactly `size` bytes to `url`."""

    number: int
    url: str
    size: int


@dataclass(frozen=True, slots=True)
class SignedParts:
    parts: list[SignedPart]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the store for one document.

    PUT: send the bytes to `url` with exactly these headers. POST: a form of `fields` and the file. MULTIPART: each part
    to its own URL. `duplicate`: nothing is to be sent, the document named holds these bytes already, under `name`.
    `resumed`: parts of an earlier attempt are there.
    """

    document_id: str
    task_id: str
    key: str
    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    upload_id: str | None = None
    part_size: int | None = None
    parts: list[SignedPart] = field(default_factory=list)
    expires_at: datetime | None = None
    resumed: bool = False
    duplicate: bool = False
    name: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ArrivedPart:
    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """`parts` are in the store, `missing` are the numbers of those that are not. `completed`: nothing is left to do."""

    document_id: str
    task_id: str
    key: str
    size: int
    completed: bool
    upload_id: str | None
    part_size: int | None
    parts: list[ArrivedPart]
    missing: list[int]


@dataclass(frozen=True, slots=True)
class UploadEnd:
    document_id: str
    task_id: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its newest version, whose task `processing_status` is of. `parent_id`: what it was in."""

    id: str
    name: str
    file_type: str | None
    content_type: str | None
    file_size: int | None
    etag: str | None
    sha256: str | None
    bucket_name: str
    object_key: str
    version: int
    shown_version: int | None
    knowledge_base_id: str
    user_id: str
    parent_id: str | None
    metadata: dict[str, Any]
    processing_status: str
    error_code: str | None
    error_message: str | None
    task_id: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Download:
    """A URL of the store, good for `expires_in` seconds."""

    document_name: str
    version: int
    download_url: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class TextPage:
    """A page's text; a very long one goes on in the next, under the same number."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A line on a page."""

    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: the characters [start, end) of the document's clean text; `page` is where it starts.

    `headings`: those it stands under, the highest first. `places`: its lines, of formats that have places.
    """

    number: int
    page: int
    start: int
    end: int
    text: str
    headings: list[str]
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Begun:
    """The task that does what was asked for."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task; `progress` is 0..100."""

    step_name: str
    step_order: int
    status: str
    progress: float
    details: dict[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None
    attempt: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its steps, in their order; `overall_progress` is 0..100. `waiting_for`: why it does not move."""

    task_id: str
    document_id: str | None
    type: str
    status: str
    overall_progress: float
    task_details: list[Step]
    version: int | None = None
    knowledge_base_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    estimated_completion_time: datetime | None = None
    waiting_for: str | None = None
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
class TaskState:
    task_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of uploads that were completed."""

    documents: int
    bytes: int
    documents_per_hour: float
    bytes_per_hour: float


@dataclass(frozen=True, slots=True)
class StepStats:
    """`completed` and the seconds: of the time that is looked at; the others: runs at this moment."""

    step_name: str
    completed: int
    p50_seconds: float | None
    p95_seconds: float | None
    queued: int
    put_off: int
    running: int


@dataclass(frozen=True, slots=True)
class FailureReason:
    """`message`: of the latest of them."""

    code: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class TaskStats:
    """What the tasks of the last `hours` tell together."""

    hours: float
    since: datetime
    total: int
    by_status: dict[str, int]
    by_type: dict[str, dict[str, int]]
    throughput: Throughput
    steps: list[StepStats]
    failures: list[FailureReason]


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says: by server "ok" or what is wrong with it."""

    status: str
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.status == "ready"
