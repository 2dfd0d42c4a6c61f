"""What a task or a step is in. Apart from the tables, which only migrations load: SQLAlchemy's ORM takes its time."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Of tasks and of steps. From PENDING to RUNNING, and from there, or at once, to one of the others."""

    PENDING = "PENDING"  # not begun; a failed run that will be repeated comes back here
    RUNNING = "RUNNING"  # a task: its object has arrived; a step: a worker holds its lease
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"  # ended by its own fault; only a retry asked for by a person leaves it
    SKIPPED = "SKIPPED"  # steps only: not needed for this document
    CANCELLED = "CANCELLED"  # by a person, a newer version or a removal; never left
