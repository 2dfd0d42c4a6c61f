"""Whatever ends us, what we started ends too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from deploy.local import guardian as guardian_module
from deploy.local.guardian import Guardian
from tests.processes import descendants, running, wait_until

_OWNER = """
import os, signal, subprocess, sys
from pathlib import Path
from deploy.local.guardian import Guardian
guardian = Guardian()
pids = [guardian.spawn(["sh", "-c", command], log=Path(sys.argv[1]), farewell=signal.SIGTERM).pid
        for command in ("sleep 100 & sleep 100", "sleep 100 & wait")]
plain = subprocess.Popen(["sleep", "100"])
guardian.adopt(plain.pid)
released = subprocess.Popen(["sleep", "100"], start_new_session=True)
guardian.adopt(released.pid)
guardian.release(released.pid)
print(*pids, plain.pid, released.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _OWNER, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        process.kill()


def test_kill_9_of_our_group_ends_what_was_adopted_and_spares_what_was_released(owner: subprocess.Popen[str]) -> None:
    assert owner.stdout is not None
    *adopted, released = map(int, owner.stdout.readline().split())
    everything = descendants(*adopted)
    assert len(everything) >= 5, "three leaders and the children of two"

    os.killpg(owner.pid, signal.SIGKILL)

    wait_until(lambda: not everything & running().keys(), seconds=10, what="the end of all that was adopted")
    assert released in running()
    os.kill(released, signal.SIGKILL)


def test_what_ignores_the_farewell_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian_module, "_FAREWELL_SECONDS", 0.1)
    command = ["sh", "-c", f"trap '' TERM; touch {tmp_path}/deaf; while :; do sleep 0.01; done"]
    with subprocess.Popen(command, start_new_session=True) as ward:
        wait_until((tmp_path / "deaf").exists, seconds=5, what="the trap")
        guardian_module._end({ward.pid: signal.SIGTERM})
        assert ward.wait(5) == -signal.SIGKILL


def test_a_guardian_shrugs_off_every_signal_that_a_terminal_sends(tmp_path: Path) -> None:
    guardian = Guardian()
    ward = guardian.spawn(["sleep", "100"], log=tmp_path / "log")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guardian.pid, number)
    closing = Thread(target=guardian.close)
    closing.start()
    assert ward.wait(5) == -signal.SIGKILL
    closing.join()


def test_a_command_does_not_begin_before_the_guardian_knows_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guardian = Guardian()

    def die_before(pid: int, farewell: signal.Signals) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(guardian, "adopt", die_before)
    with pytest.raises(BrokenPipeError):
        guardian.spawn(["touch", str(tmp_path / "begun")], log=tmp_path / "log")
    guardian.close()
    assert not (tmp_path / "begun").exists()


def test_what_it_runs_sees_no_input_and_keeps_its_files_to_itself(tmp_path: Path) -> None:
    guardian = Guardian()
    process = guardian.spawn(["sh", "-c", "cat; echo done; touch made"], log=tmp_path / "log", cwd=tmp_path)
    assert process.wait(5) == 0
    guardian.close()
    assert (tmp_path / "log").read_text() == "done\n"
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
