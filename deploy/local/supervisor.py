"""Keeps our own processes running: what dies is started again, what cannot start is an error."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common.errors import BrigadeError
from deploy.local.guardian import Guardian, signal_group

# A process that lived this long was healthy: its next end counts as the first.
_HEALTHY_SECONDS = 30.0
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 15.0
_TAIL_BYTES = 16 * 1024


class PartFailed(BrigadeError):
    """A part of the stack could not start."""

    code = "PART_FAILED"


class Supervisor:
    """Runs programs as children under a guardian, each in a session of its own, so that Ctrl-C reaches only us.

    Until `settle()` an end is a failure to start, which `check()` raises with the tail of the program's log; after it,
    ends are reported and the program is started again, at growing intervals.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log_directory: Path,
        guardian: Guardian,
        *,
        report: Callable[[str], object],
        first_delay_seconds: float = _FIRST_DELAY_SECONDS,
        longest_delay_seconds: float = _LONGEST_DELAY_SECONDS,
    ) -> None:
        self._environment = dict(environment)
        self._logs = log_directory
        self._guardian = guardian
        self._report = report
        self._first_delay = first_delay_seconds
        self._longest_delay = longest_delay_seconds
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ends: dict[str, int] = {}
        self._watchers: list[threading.Thread] = []
        self._settled = threading.Event()
        self._stopping = threading.Event()

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a program to its end. Raises `PartFailed` unless it exits with 0."""
        self._keep_last_log(name)
        process = self._spawn(name, command)
        code = process.wait()
        self._clear(name, process)
        if code:
            raise self._failure(name, code)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program and watch it."""
        self._keep_last_log(name)
        process = self._spawn(name, command)
        watcher = threading.Thread(target=self._watch, args=(name, command, process), name=f"watch-{name}", daemon=True)
        self._watchers.append(watcher)
        watcher.start()

    def check(self) -> None:
        """Raise `PartFailed` if a program ended before `settle()`."""
        for name, code in list(self._ends.items()):
            raise self._failure(name, code)

    def settle(self) -> None:
        """All have started: from now on, what ends is started again."""
        self._settled.set()
        self.check()

    def stop(self, grace_seconds: float) -> None:
        """Ask all to end, and end those that have not after `grace_seconds`."""
        with self._lock:
            self._stopping.set()
            processes = dict(self._processes)
            for process in processes.values():
                # Only the leader: a worker's children are its own to end, and to tell from a crash.
                process.terminate()
        deadline = time.monotonic() + grace_seconds
        for process in processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End all at once, with everything they started."""
        self._stopping.set()
        for name, process in list(self._processes.items()):
            self._clear(name, process)

    def pid(self, name: str) -> int | None:
        """The program's process, which leads its group; None while there is none."""
        process = self._processes.get(name)
        return process.pid if process is not None and process.poll() is None else None

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._lock:
            process = self._guardian.spawn(command, log=self.log(name), env=self._environment)
            self._processes[name] = process
        if self._stopping.is_set():
            self._clear(name, process)
        return process

    def _clear(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """End a process and what it started, and forget it: its number may soon be another's."""
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
        self._guardian.release(process.pid)
        self._processes.pop(name, None)

    def _watch(self, name: str, command: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        delay = self._first_delay
        while True:
            started = time.monotonic()
            code = process.wait()
            if self._stopping.is_set():
                return
            # What it started must not outlive it beside its successor.
            self._clear(name, process)
            if not self._settled.is_set():
                self._ends[name] = code
                return
            if time.monotonic() - started > _HEALTHY_SECONDS:
                delay = self._first_delay
            self._report(f"{name} {how(code)}: starting it again in {delay:g} s (its log: {self.log(name)})")
            if self._stopping.wait(delay):
                return
            delay = min(2 * delay, self._longest_delay)
            process = self._spawn(name, command)

    def _keep_last_log(self, name: str) -> None:
        """Begin a new log beside that of the last run: logs neither grow for ever nor vanish at a restart."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.log(name).replace(self._logs / f"{name}.log.old")

    def _failure(self, name: str, code: int) -> PartFailed:
        log = self.log(name)
        return PartFailed(f"{name} {how(code)}. The end of {log}:\n{tail(log)}")


def how(code: int) -> str:
    """A return code in words."""
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        said = file.read().decode(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in said) or "    (it said nothing)"
