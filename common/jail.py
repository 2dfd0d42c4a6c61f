"""Runs one Python function on one hostile file in a child process with limits; the caller outlives whatever happens.

A *zygote* (common/jail_zygote.py), started when first needed, imports the function's module once and then forks a
child for each run, so that a run costs milliseconds and not an interpreter's start. Zygote and children have none of
the caller's environment, credentials, descriptors or working directory, and die with the caller.

The wire: a socket pair to the zygote, on which each byte carries one end of a fresh socket pair, one a run. On that
go a request, the child's answer, and the zygote's report of how the child ended, each a line of JSON. Closing our
half for writing tells the zygote to kill the child.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from common.errors import BrigadeError, Rejected, Retryable

_CHECK_SECONDS = 0.25
_KILL_SECONDS = 5.0
# An answer is a small dict: a child that writes more has lost its mind, or was taken over.
_ANSWER_BYTES = 1 << 20
# What the zygote keeps of our environment: where programs are and how names are read. Nothing secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
_TRACEBACK_LINES = 6


class Limits(msgspec.Struct, frozen=True):
    """What one run may use. `memory_bytes` counts address space beyond what the child starts with."""

    wall_seconds: float
    cpu_seconds: int
    memory_bytes: int
    output_bytes: int

    def exceeded(self, code: str) -> Rejected:
        """The refusal that names the budget which ran out."""
        budget = {
            "EXTRACT_TIMEOUT": f"took longer than the {self.wall_seconds:g} seconds",
            "EXTRACT_CPU": f"needed more than the {self.cpu_seconds} seconds of CPU time",
            "EXTRACT_MEMORY": f"needed more than the {self.memory_bytes / (1 << 20):,.0f} MiB of memory",
            "EXTRACT_OUTPUT": f"made more than the {self.output_bytes / (1 << 20):,.0f} MiB of text",
        }[code]
        return Rejected(f"Reading this file {budget} that one document may use.", code=code)


class Request(msgspec.Struct, frozen=True):
    """`target` is "module:function", called as `function(Path(input), Path(output), options)`."""

    target: str
    input: str
    output: str
    options: dict[str, Any]
    limits: Limits


class Returned(msgspec.Struct, frozen=True, tag=True):
    """The child's answer: what the function returned."""

    details: dict[str, Any]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The child's answer: the function raised `Rejected`, or ran into a limit it could still report."""

    message: str
    code: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child's answer: the function raised something else."""

    traceback: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The zygote's report on a dead child. A negative exit code is the signal that killed it."""

    exit_code: int
    cpu_seconds: float
    peak_bytes: int


Answer = Returned | Refused | Failed
_line = msgspec.json.Decoder(Returned | Refused | Failed | Ended)


class _ZygoteDied(Retryable):
    """The jail's process died; the next run starts another."""


class Jail:
    """Thread-safe: any number of runs at once, each in a child of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def run(
        self,
        target: str,
        *,
        input: Path,  # noqa: A002
        output: Path,
        options: Mapping[str, Any],
        limits: Limits,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """The dict that `target` ("module:function") returns, called in a child with (input, output, options).

        `check` is called a few times a second and may raise, which kills the child. Raises `Rejected` where the
        function did, used up a limit or crashed; `Retryable` where jail or child were killed from outside; and
        `BrigadeError` with the end of the traceback for any other exception, which is a fault of ours.
        """
        request = Request(target, str(input.absolute()), str(output.absolute()), dict(options), limits)
        connection, zygote = self._send(request)
        with connection:
            try:
                answer, ended = _await_end(connection, time.monotonic() + limits.wall_seconds, check)
            except _ZygoteDied:
                self._bury(zygote)
                raise
            except TimeoutError:
                _kill(connection)
                raise limits.exceeded("EXTRACT_TIMEOUT") from None
            except BaseException:
                _kill(connection)
                raise
        return _judge(answer, ended, limits)

    def close(self) -> None:
        """End the zygote and every child."""
        with self._lock:
            if self._control is None or self._zygote is None:
                return
            self._control.close()
            try:
                self._zygote.wait(_KILL_SECONDS)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait()
            self._control = self._zygote = None

    def _send(self, request: Request) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._zygote is None or self._zygote.poll() is not None:
                self._zygote, self._control = self._start()
            zygote, control = self._zygote, self._control
            assert control is not None
            try:
                ours.sendall(msgspec.json.encode(request) + b"\n")
                socket.send_fds(control, [b"\0"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise _ZygoteDied from error
        return ours, zygote

    def _bury(self, zygote: subprocess.Popen[bytes]) -> None:
        """Forget a zygote that is dying; another run may have done so already, and started its successor."""
        with self._lock:
            if self._zygote is zygote:
                zygote.kill()
                zygote.wait()
                self._zygote = None

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self._control is not None:
            self._control.close()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # The caller may have found its modules in ways that a new interpreter would not.
        path = [entry for entry in map(os.path.abspath, sys.path) if os.path.exists(entry)]  # noqa: PTH110
        environment["PYTHONPATH"] = os.pathsep.join(path)
        control, theirs = socket.socketpair()
        with theirs:
            zygote = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "common.jail_zygote", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd="/",
                # A session of its own: Ctrl-C reaches it through us, and never in the middle of a run.
                start_new_session=True,
            )
        return zygote, control


def _await_end(connection: socket.socket, deadline: float, check: Callable[[], None]) -> tuple[Answer | None, Ended]:
    """The child's answer, if it gave one, and its end. Raises TimeoutError at `deadline`, Retryable without zygote."""
    received = b""
    while True:
        check()
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(min(_CHECK_SECONDS, remaining))
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            continue
        except ConnectionResetError:
            data = b""
        if not data:
            raise _ZygoteDied
        received += data
        if len(received) > _ANSWER_BYTES:
            raise Rejected("Reading this file failed: the reader's answer makes no sense.", code="EXTRACT_CRASHED")
        messages = _decode(received)
        if ended := next((message for message in messages if isinstance(message, Ended)), None):
            return next((message for message in messages if not isinstance(message, Ended)), None), ended


def _decode(received: bytes) -> list[Answer | Ended]:
    messages = []
    for line in received.split(b"\n")[:-1]:
        try:
            messages.append(_line.decode(line))
        except msgspec.DecodeError:
            continue  # Half a line of a child that died writing it.
    return messages


def _kill(connection: socket.socket) -> None:
    """Have the child killed, and wait until it is: nobody may write to its files any more."""
    try:
        connection.shutdown(socket.SHUT_WR)
        _await_end(connection, time.monotonic() + _KILL_SECONDS, lambda: None)
    except (OSError, BrigadeError):
        pass  # The zygote is gone, and its children with it.


def _judge(answer: Answer | None, ended: Ended, limits: Limits) -> dict[str, Any]:
    match answer:
        case Returned(details):
            return details
        case Refused(message, code):
            raise Rejected(message, code=code)
        case Failed(traceback):
            tail = "\n".join(traceback.strip().splitlines()[-_TRACEBACK_LINES:])
            raise BrigadeError(f"An extractor failed, which is a fault of ours:\n{tail}", code="EXTRACT_FAILED")
    if ended.exit_code == -signal.SIGXCPU or ended.cpu_seconds >= limits.cpu_seconds:
        raise limits.exceeded("EXTRACT_CPU")
    if ended.exit_code == -signal.SIGXFSZ:
        raise limits.exceeded("EXTRACT_OUTPUT")
    if ended.exit_code == -signal.SIGKILL:
        raise Retryable("The process that read this file was killed from outside; is the machine out of memory?")
    # C code that is refused memory aborts or runs into a null pointer. Resident memory lags behind address space.
    if ended.peak_bytes > limits.memory_bytes / 2:
        raise limits.exceeded("EXTRACT_MEMORY")
    how = signal.Signals(-ended.exit_code).name if ended.exit_code < 0 else f"exit code {ended.exit_code}"
    raise Rejected(f"Reading this file crashed the program that read it ({how}).", code="EXTRACT_CRASHED")
