"""What all private servers have in common: started under a guardian, awaited until they answer, ended in bounded time.

`mirakuru` would await them too, but it forks with a `preexec_fn`, which is unsafe in the threads that start the
servers side by side, and leaves no moment to tell the guardian of a process before it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from common.errors import BrigadeError
from deploy.local.guardian import Guardian, signal_group

_START_SECONDS = 60.0
_STOP_SECONDS = 8.0
_LOG_TAIL_BYTES = 2000


class ServerError(BrigadeError):
    """A private server did not come up."""

    code = "SERVER_DOWN"

    def __init__(self, name: str, what: str, *, log_tail: str = "", advice: str = "") -> None:
        self.name, self.log_tail, self.advice = name, log_tail, advice
        quoted = "".join(f"\n    {line}" for line in log_tail.splitlines())
        super().__init__(f"{name} {what}." + (quoted and f" Its log ends:{quoted}") + (advice and f"\n{advice}"))


class NotInstalledError(ServerError):
    """A server is not on this machine; its advice says how it gets there."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(name, "is not installed", advice=advice)


class NotReadyError(Exception):
    """It does not answer yet."""


class Server(ABC):
    """One server on one port of 127.0.0.1, its data in `directory`, its log beside that."""

    name: str
    stop_signal = signal.SIGTERM
    #: How a crash is brought about. Where SIGKILL would leave children that hold the data, something nearly as rude.
    kill_signal = signal.SIGKILL

    def __init__(self, directory: Path, port: int, guardian: Guardian) -> None:
        self.directory = directory
        self.port = port
        self.guardian = guardian
        self.log = directory.parent / f"{directory.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._unwanted = Event()

    @abstractmethod
    def prepare(self) -> None:
        """Make what must be there before the server starts; what an interrupted start left must not matter."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def check(self) -> None:
        """Ask the server something that it can only answer when it is up; raise `NotReadyError` if it cannot."""

    def environment(self) -> dict[str, str]:
        """All that the server sees of ours, so that no PGPORT or RABBITMQ_… of the user's leads it astray."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(self.directory)}

    @property
    def pid(self) -> int | None:
        """The process, which leads its group; None when it is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Return when the server answers. Raises `ServerError`."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.old"))
        self.prepare()
        self._process = self.guardian.spawn(
            self.command(), log=self.log, env=self.environment(), cwd=self.directory, farewell=self.stop_signal
        )
        self._await()

    def stop(self) -> None:
        """End it as it likes to be ended, within a few seconds; else by SIGKILL."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(self.kill_signal)

    def give_up(self) -> None:
        """Make a `start` that is under way in another thread end."""
        self._unwanted.set()

    def run(self, command: Sequence[str]) -> None:
        """Run a short command to its end, its output in the log. Raises `ServerError`."""
        process = self.guardian.spawn(command, log=self.log, env=self.environment(), cwd=self.directory)
        try:
            code = process.wait(timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
            code = process.wait()
        self.guardian.release(process.pid)
        if code != 0:
            raise self.error(f"could not be set up ({Path(command[0]).name} ended with {code})")

    def error(self, what: str) -> ServerError:
        tail = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""
        return ServerError(self.name, what, log_tail=tail, advice=f"The whole log: {self.log}")

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            code = self._process.poll()
            if code is not None:
                self.guardian.release(self._process.pid)
                raise self.error(f"ended with code {code} instead of coming up")
            try:
                self.check()
            except NotReadyError as error:
                if time.monotonic() > deadline:
                    raise self.error(f"did not answer within {_START_SECONDS:.0f} s ({error})") from error
            else:
                return
            if self._unwanted.wait(0.05):
                raise self.error("was not waited for")

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            signal_group(process.pid, number)
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                signal_group(process.pid, signal.SIGKILL)
                process.wait()
            # RabbitMQ's leader is a shell, which may be gone before the node has let go of its port.
            _wait_until(lambda: not signal_group(process.pid, 0), seconds=_STOP_SECONDS)
        self.guardian.release(process.pid)
        self._process = None


def _wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
