"""Runs one Python function, or one program of the machine, on one hostile file in a child process with limits; the
caller outlives whatever happens.

A *zygote* (common/jail_zygote.py), started when first needed, imports the function's module once and then forks a
child for each run, so that a run costs milliseconds and not an interpreter's start. Zygote and children have none of
the caller's environment, credentials, descriptors or working directory, and die with the caller. A child gives up
what it needs no more before it begins (common/confinement.py): all it reaches is code, its input and its output.

The wire: a socket pair to the zygote, on which each byte carries one end of two fresh socket pairs, two a run. On the
first go the request and the zygote's report of how the child ended; closing our half for writing tells the zygote to
kill the child. On the second, the only one that the child has, goes its answer. Each is a line of JSON.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from common.errors import BrigadeError, DiskFull, Rejected, Retryable

_CHECK_SECONDS = 0.25
_KILL_SECONDS = 5.0
# An answer is a small dict: a child that writes more has lost its mind, or was taken over.
_ANSWER_BYTES = 1 << 20
# What the zygote keeps of our environment: where programs are and how names are read. Nothing secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
_TRACEBACK_LINES = 6
# Of what becomes a program: a module that is there, so that the zygote need load none.
_NO_TARGET = "common.jail:"


class Limits(msgspec.Struct, frozen=True):
    """What one run may use. `memory_bytes` counts address space beyond what the child starts with.

    `of`, `settings`: what it is that may have so much, and how the names of the settings begin that say so.
    """

    wall_seconds: float
    cpu_seconds: int
    memory_bytes: int
    output_bytes: int
    of: str = "document"
    settings: str = "EXTRACT"

    def exceeded(self, code: str) -> Rejected:
        """The refusal that names the budget which ran out."""
        budget, setting = {
            "EXTRACT_TIMEOUT": (f"took longer than the {self.wall_seconds:g} seconds", "SECONDS"),
            "EXTRACT_CPU": (f"needed more than the {self.cpu_seconds} seconds of CPU time", "CPU_SECONDS"),
            "EXTRACT_MEMORY": (f"needed more than the {_mib(self.memory_bytes)} MiB of memory", "MEMORY_BYTES"),
            "EXTRACT_OUTPUT": (f"made more than the {_mib(self.output_bytes)} MiB of text", "OUTPUT_BYTES"),
        }[code]
        return Rejected(
            f"Reading this file {budget} that one {self.of} may use (BRIGADE_{self.settings}_{setting}).", code=code
        )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f}"


class Request(msgspec.Struct, frozen=True):
    """`target` is "module:function", called as `function(Path(input), Path(output), options)`.

    Or the child becomes `program`, with these arguments, and what it prints is the output. `data`: what it reads.
    """

    target: str
    input: str
    output: str
    options: dict[str, Any]
    limits: Limits
    program: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


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


class OutOfSpace(msgspec.Struct, frozen=True, tag=True):
    """The child's answer: the disk is full."""

    reason: str


class Ended(msgspec.Struct, frozen=True):
    """The zygote's report on a dead child. A negative exit code is the signal that killed it."""

    exit_code: int
    cpu_seconds: float
    peak_bytes: int


Answer = Returned | Refused | Failed | OutOfSpace
_answer = msgspec.json.Decoder(Returned | Refused | Failed | OutOfSpace)
_ended = msgspec.json.Decoder(Ended)


@dataclass(frozen=True, slots=True)
class _Wire:
    """Our ends of a run's two socket pairs."""

    zygote: socket.socket
    child: socket.socket

    def close(self) -> None:
        self.zygote.close()
        self.child.close()


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
        function did, used up a limit or crashed; `Retryable` where jail or child were killed from outside;
        `DiskFull`; and `BrigadeError` with the end of the traceback for any other exception, which is a fault of ours.
        The output is made where it is not there.
        """
        request = Request(target, str(input.absolute()), str(output.absolute()), dict(options), limits)
        return _judge(*self._run(request, check), limits)

    def run_program(
        self,
        program: Sequence[str],
        *,
        input: Path,  # noqa: A002
        output: Path,
        data: Sequence[str],
        limits: Limits,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a program of the machine, whose path comes first, with these arguments and the input's path as the last.

        It has the limits and the confinement of a function, no environment, and no right to execute any other; what it
        prints is the output. Raises as `run`, and `Rejected` (FILE_DAMAGED) where it ends with an error.
        """
        path = str(input.absolute())
        command = (*program, path)
        request = Request(_NO_TARGET, path, str(output.absolute()), {}, limits, command, tuple(data))
        answer, ended = self._run(request, check)
        if answer is None and ended.exit_code > 0:
            name = Path(program[0]).name
            raise Rejected(f"This file is damaged: {name} cannot read it. Upload it again.", code="FILE_DAMAGED")
        if answer is not None or ended.exit_code:
            _judge(answer, ended, limits)

    def _run(self, request: Request, check: Callable[[], None]) -> tuple[Answer | None, Ended]:
        limits = request.limits
        wire, zygote = self._send(request)
        with contextlib.closing(wire):
            try:
                answer, ended = _await_end(wire, time.monotonic() + limits.wall_seconds, check)
            except _ZygoteDied:
                self._bury(zygote)
                raise
            except TimeoutError:
                _kill(wire)
                raise limits.exceeded("EXTRACT_TIMEOUT") from None
            except BaseException:
                _kill(wire)
                raise
        return answer, ended

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

    def _send(self, request: Request) -> tuple[_Wire, subprocess.Popen[bytes]]:
        (ours, theirs), (answers, childs) = socket.socketpair(), socket.socketpair()
        wire = _Wire(ours, answers)
        with theirs, childs, self._lock:
            if self._zygote is None or self._zygote.poll() is not None:
                self._zygote, self._control = self._start()
            zygote, control = self._zygote, self._control
            assert control is not None
            try:
                ours.sendall(msgspec.json.encode(request) + b"\n")
                socket.send_fds(control, [b"\0"], [theirs.fileno(), childs.fileno()])
            except OSError as error:
                wire.close()
                raise _ZygoteDied from error
        return wire, zygote

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
        # NumPy's OpenBLAS starts threads when it is loaded: who has any cannot fork safely, and children may have none.
        environment["OPENBLAS_NUM_THREADS"] = "1"
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


def _await_end(wire: _Wire, deadline: float, check: Callable[[], None]) -> tuple[Answer | None, Ended]:
    """The child's answer, if it gave one, and its end. Raises TimeoutError at `deadline`, Retryable without zygote."""
    answered = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(wire.zygote, selectors.EVENT_READ)
        selector.register(wire.child, selectors.EVENT_READ)
        while True:
            check()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            for key, _ in selector.select(min(_CHECK_SECONDS, remaining)):
                if key.fileobj is wire.zygote:
                    ended = _report(wire.zygote)
                    _receive(wire.child, answered)
                    return _decode(bytes(answered)), ended
                if not _receive(wire.child, answered):
                    selector.unregister(wire.child)


def _receive(child: socket.socket, answered: bytearray) -> bool:
    """Take what the child has written; False: it will write no more."""
    try:
        while data := child.recv(1 << 16, socket.MSG_DONTWAIT):
            answered += data
            if len(answered) > _ANSWER_BYTES:
                raise _nonsense()
    except BlockingIOError:
        return True
    except ConnectionResetError:
        pass
    return False


def _report(zygote: socket.socket) -> Ended:
    try:
        return _ended.decode(zygote.recv(1 << 16))
    except (ConnectionResetError, msgspec.DecodeError) as error:
        raise _ZygoteDied from error


def _decode(answered: bytes) -> Answer | None:
    """None: there is none, or the child died while it wrote it."""
    if not answered.endswith(b"\n"):
        return None
    try:
        answer: Answer = _answer.decode(answered)
        return answer
    except msgspec.DecodeError:
        raise _nonsense() from None


def _nonsense() -> Rejected:
    return Rejected("Reading this file failed: the reader's answer makes no sense.", code="EXTRACT_CRASHED")


def _kill(wire: _Wire) -> None:
    """Have the child killed, and wait until it is: nobody may write to its files any more."""
    wire.child.close()
    # Where the zygote is gone, its children are too.
    with contextlib.suppress(OSError):
        wire.zygote.shutdown(socket.SHUT_WR)
        wire.zygote.settimeout(_KILL_SECONDS)
        wire.zygote.recv(1 << 16)


def _judge(answer: Answer | None, ended: Ended, limits: Limits) -> dict[str, Any]:
    match answer:
        case Returned(details):
            return details
        case Refused(message, code):
            raise Rejected(message, code=code)
        case OutOfSpace(reason):
            raise DiskFull(reason)
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
