from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from deploy.local.guardian import Guardian
from deploy.local.supervisor import PartFailed, Supervisor, how
from tests.processes import running, wait_until

NEVER_ENDS = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
ENDS_WHEN_ASKED = "import time; time.sleep(600)"


def eventually(condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), seconds=20, what="it did not come true")


class Parts:
    """A supervisor, and what its programs wrote: each says its pid first."""

    def __init__(self, guardian: Guardian, directory: Path) -> None:
        self.said: list[str] = []
        self.supervisor = Supervisor(
            os.environ,
            directory,
            guardian,
            report=self.said.append,
            first_delay_seconds=0.05,
            longest_delay_seconds=0.15,
        )

    def start(self, name: str, code: str) -> None:
        self.supervisor.start(name, [sys.executable, "-c", f"import os; print(os.getpid(), flush=True)\n{code}"])

    def has_started(self, name: str, times: int) -> bool:
        return len(self.pids(name)) == times

    def pids(self, name: str) -> list[int]:
        log = self.supervisor.log(name)
        return [int(line) for line in log.read_text().splitlines() if line.isdecimal()] if log.exists() else []


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with closing(Guardian()) as guardian:
        parts = Parts(guardian, tmp_path / "log")
        yield parts
        parts.supervisor.stop(0)


def test_a_program_that_dies_is_started_again_and_that_is_said(parts: Parts) -> None:
    parts.start("worker", ENDS_WHEN_ASKED)
    eventually(lambda: parts.pids("worker"))
    parts.supervisor.settle()
    os.kill(parts.pids("worker")[0], signal.SIGKILL)
    eventually(lambda: len(parts.pids("worker")) == 2)
    assert "worker was ended by SIGKILL: starting it again in 0.05 s" in parts.said[0]


def test_a_program_that_keeps_dying_is_started_ever_more_slowly_up_to_a_limit(parts: Parts) -> None:
    parts.start("worker", ENDS_WHEN_ASKED)
    eventually(lambda: parts.pids("worker"))
    parts.supervisor.settle()
    for deaths in (1, 2, 3):
        os.kill(parts.pids("worker")[-1], signal.SIGKILL)
        eventually(partial(parts.has_started, "worker", deaths + 1))
    assert [line.split(" again in ")[1].split(" s ")[0] for line in parts.said] == ["0.05", "0.1", "0.15"]


def test_what_a_dead_program_started_does_not_outlive_it(parts: Parts) -> None:
    start_another = f"p = subprocess.Popen([sys.executable, '-c', {NEVER_ENDS!r}])"
    parts.start("worker", f"import subprocess, sys\n{start_another}\nprint(p.pid, flush=True)\np.wait()")
    eventually(lambda: len(parts.pids("worker")) == 2)
    parts.supervisor.settle()
    leader, orphan = parts.pids("worker")
    os.kill(leader, signal.SIGKILL)
    eventually(lambda: len(parts.pids("worker")) == 4)
    assert orphan not in running()


def test_a_program_that_cannot_start_is_an_error_with_the_end_of_its_log(parts: Parts) -> None:
    parts.start("api", "raise SystemExit('there is no such database')")

    def failed() -> bool:
        try:
            parts.supervisor.check()
        except PartFailed as error:
            return "api ended with exit code 1" in error.message and "there is no such database" in error.message
        return False

    eventually(failed)
    with pytest.raises(PartFailed):
        parts.supervisor.settle()


def test_a_program_that_is_not_there_is_an_error(parts: Parts) -> None:
    with pytest.raises(PartFailed, match="model ended with exit code 127"):
        parts.supervisor.run("model", ["/nowhere/python"])


def test_a_program_that_is_run_to_its_end_may_succeed(parts: Parts) -> None:
    parts.supervisor.run("migrate", [sys.executable, "-c", "print('done')"])
    assert parts.supervisor.log("migrate").read_text() == "done\n"


def test_stopping_asks_first_and_then_insists(parts: Parts) -> None:
    parts.start("polite", ENDS_WHEN_ASKED)
    parts.start("deaf", NEVER_ENDS + "\n")
    eventually(lambda: parts.pids("polite") and parts.pids("deaf"))
    parts.supervisor.settle()
    began = time.monotonic()
    parts.supervisor.stop(0.3)
    assert time.monotonic() - began < 5
    assert not running().keys() & {*parts.pids("polite"), *parts.pids("deaf")}
    assert parts.said == []


def test_the_log_of_the_last_run_is_kept(parts: Parts) -> None:
    parts.supervisor.run("migrate", [sys.executable, "-c", "print('first')"])
    parts.supervisor.run("migrate", [sys.executable, "-c", "print('second')"])
    log = parts.supervisor.log("migrate")
    assert (log.read_text(), log.with_name("migrate.log.old").read_text()) == ("second\n", "first\n")


def test_an_end_is_put_in_words() -> None:
    assert how(3) == "ended with exit code 3"
    assert how(-9) == "was ended by SIGKILL"
