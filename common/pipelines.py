"""What a pipeline is. Which ones there are: router/table.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One step: which function does it, and what it may cost.

    `function` is None for a step that others do, as the upload. `batch`: the function gets its input in shares of so
    many records, each a message of its own, on as many workers as there are. `weight`: its part of overall progress.
    `when_asked`: only if a person asked for the pipeline; SKIPPED if an event began it.
    """

    name: str
    function: Callable[..., Any] | None = None
    weight: int = 1
    timeout_seconds: float = 60
    batch: int | None = None
    when_asked: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """The keys that begin so are documents: what happens when an object arrives there, and when it is removed."""

    prefix: str
    arrival: Pipeline
    removal: Pipeline
