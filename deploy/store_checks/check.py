"""What a check is, how it tells what it found, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from common.errors import BrigadeError

if TYPE_CHECKING:
    from deploy.store_checks.ground import Ground
    from deploy.store_checks.trial import Trial


class Verdict(StrEnum):
    OK = "ok"
    INSTEAD = "instead"  # the store lacks it, and something else is done
    FAILED = "FAILED"  # what must work does not
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a store must or should do. `run` returns what is worth telling; it raises `Lacks` or `Wrong`.

    `needed_for`: what of the product depends on it. `instead`: what is done where the store lacks it; empty: it is
    required. `advice`: what to do if it fails. `needs_versions`: tried in a bucket that keeps versions. `sets_rules`:
    changes what holds for the whole bucket, so it is tried only in a bucket of our own.
    """

    name: str
    run: Callable[[Ground], str | None]
    needed_for: str
    instead: str = ""
    advice: str = ""
    needs_versions: bool = False
    sets_rules: bool = False


class Lacks(Exception):
    """The store does not do this. The message says what it did; `instead`: what is done, if not what the check says."""

    def __init__(self, found: str, instead: str = "") -> None:
        super().__init__(found)
        self.instead = instead


class Wrong(Exception):
    """The store does this, but not as it must, whatever is done instead where it is lacking."""


@dataclass(frozen=True, slots=True)
class Result:
    """`found`: what the store did. `then`: what is done instead, what to do, or why it was not tried."""

    name: str
    verdict: Verdict
    needed_for: str
    found: str
    then: str
    seconds: float


def demand(holds: bool, found: str, expected: str) -> None:
    """Raise `Wrong` saying both, unless it holds."""
    if not holds:
        raise Wrong(f"{found}; expected: {expected}")


def run(check: Check, trial: Trial) -> Result:
    """Never raises for what the store does, only for what cannot be its doing."""
    began = time.monotonic()
    verdict, found, then = _outcome(check, trial)
    return Result(check.name, verdict, check.needed_for, found, then, time.monotonic() - began)


def _outcome(check: Check, trial: Trial) -> tuple[Verdict, str, str]:
    if check.sets_rules and not trial.own:
        return Verdict.NOT_TRIED, "", "It would change the rules of the bucket, which is not this check's own."
    ground = trial.versioned if check.needs_versions else trial.plain
    if ground is None:
        return Verdict.INSTEAD, trial.no_versions, check.instead
    try:
        return Verdict.OK, check.run(ground.within(check.name)) or "", ""
    except Lacks as lacks:
        instead = lacks.instead or check.instead
        return (Verdict.INSTEAD, str(lacks), instead) if instead else (Verdict.FAILED, str(lacks), check.advice)
    except (Wrong, BrigadeError, ClientError) as error:
        return Verdict.FAILED, str(error), check.advice
    except Exception as error:  # noqa: BLE001 - a store may answer in ways that no library foresees
        return Verdict.FAILED, f"{type(error).__name__}: {error}", check.advice
