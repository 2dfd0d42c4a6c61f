"""What a run is told, and whose leases are renewed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import cast

import pytest

from common import steps
from common.context import Target
from common.db import Database
from common.errors import LeaseLost, TimedOut
from common.steps import Claim, StepRef
from router.leases import Leases, ShuttingDown

TARGET = Target("t", "d", 1, "kb", "n", "b", "k", "e")


def claim(owner: str) -> Claim:
    return Claim(StepRef("t", 2, "SPLIT"), owner, 1, TARGET, (), None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The owners that were to be renewed, each time; `lost` never holds any more."""
    asked: list[list[str]] = []

    def renew(_connection: object, claims: Iterable[Claim], *, lease_seconds: float) -> set[str]:
        asked.append(sorted(one.owner for one in claims))
        return {one.owner for one in claims} - {"lost"}

    monkeypatch.setattr(steps, "renew", renew)
    return asked


def leases() -> Leases:
    return Leases(cast(Database, SimpleNamespace(transaction=nullcontext)), lease_seconds=0)


def test_a_run_goes_on_while_its_lease_holds_and_ends_when_it_is_lost(asked: list[list[str]]) -> None:
    ours = leases()
    with ours.hold(claim("kept"), 60) as kept, ours.hold(claim("lost"), 60) as lost:
        ours.beat()
        kept.check()
        with pytest.raises(LeaseLost):
            lost.check()
    ours.beat()
    assert asked == [["kept", "lost"]]


def test_a_run_beyond_its_time_is_told_which(asked: list[list[str]]) -> None:
    with leases().hold(claim("overdue"), -1) as run, pytest.raises(TimedOut, match="SPLIT took longer than the -1 s"):
        run.check()


def test_a_run_that_never_looks_is_failed_for_its_time_and_its_worker_told_once(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[tuple[str, str]] = []
    told: list[None] = []

    def fail(_connection: object, one: Claim, *, code: str, message: str, details: object) -> bool:
        failed.append((one.owner, code))
        return True

    monkeypatch.setattr(steps, "fail", fail)
    ours = Leases(
        cast(Database, SimpleNamespace(transaction=nullcontext)), lease_seconds=0, on_stuck=lambda: told.append(None)
    )
    with ours.hold(claim("stuck"), -1) as run, ours.hold(claim("in time"), 60):
        ours.beat()
        ours.beat()
        with pytest.raises(LeaseLost):
            run.check()
    assert failed == [("stuck", "TIMED_OUT")]
    assert len(told) == 1


def test_a_process_whose_interpreter_is_held_by_native_code_ends_itself() -> None:
    held = """
import ctypes, threading
from router.leases import Leases
leases = Leases(None, lease_seconds=0.3)
threading.Thread(target=leases.keep_alive, args=(threading.Event(), 0.5), daemon=True).start()
threading.Event().wait(0.3)
ctypes.PyDLL(None).sleep(60)  # unlike CDLL, it keeps the interpreter's lock
"""
    ended = subprocess.run([sys.executable, "-c", held], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "most recent call first" in ended.stderr


def test_the_same_step_held_twice_is_two_runs(asked: list[list[str]]) -> None:
    ours = leases()
    with ours.hold(claim("first"), 60):
        with ours.hold(claim("second"), 60):
            ours.beat()
        ours.beat()
    assert asked == [["first", "second"], ["first"]]


def test_a_worker_that_goes_away_stops_its_runs(asked: list[list[str]]) -> None:
    ours = leases()
    with ours.hold(claim("ours"), 60) as run:
        ours.stop_all()
        with pytest.raises(ShuttingDown):
            run.check()


def test_between_renewals_each_second_a_run_is_told_that_its_task_was_cancelled(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("router.leases.time.monotonic", lambda: now)
    monkeypatch.setattr(steps, "held", lambda _, claims: {one.owner for one in claims} - {"cancelled"})
    ours = Leases(cast(Database, SimpleNamespace(transaction=nullcontext)), lease_seconds=60)
    with ours.hold(claim("kept"), 60) as kept, ours.hold(claim("cancelled"), 60) as cancelled:
        now += 0.9
        ours.beat()
        cancelled.check()
        now += 0.2
        ours.beat()
        with pytest.raises(LeaseLost):
            cancelled.check()
        kept.check()
    assert asked == []
