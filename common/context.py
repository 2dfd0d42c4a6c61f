"""What a function may use, and nothing else: the runtime makes one for each run, tests make their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from common.chunking import Chunking

if TYPE_CHECKING:
    from common.services import Services


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Target:
    """The document version that a run works for. `chunking`: its base's; None: the settings'."""

    task_id: str
    document_id: str
    version: int
    knowledge_base_id: str
    name: str
    bucket: str
    key: str
    etag: str
    version_id: str | None = None
    chunking: Chunking | None = None


@dataclass(slots=True)
class Context:
    target: Target
    services: Services
    log: structlog.stdlib.BoundLogger = field(default_factory=structlog.stdlib.get_logger)
    details: dict[str, Any] = field(default_factory=dict)
    on_progress: Callable[[float], None] = _nothing
    on_check: Callable[[], None] = _nothing

    def progress(self, fraction: float) -> None:
        """Tell how far this run is, from 0 to 1. Cheap: the runtime writes it down at most twice a second."""
        self.on_progress(fraction)

    def check_cancelled(self) -> None:
        """Raise `Stopped` or `TimedOut` if there is no point in going on. Call it between pieces of work."""
        self.on_check()

    def note(self, **details: Any) -> None:
        """Add to the step's details, which clients see: counts, sizes, decisions."""
        self.details.update(details)
