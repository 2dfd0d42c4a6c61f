"""The jail's other side: `python -m common.jail_zygote FD` forks a child for each run. See common/jail.py.

Single-threaded, so that forking is safe. Linux holds children to every limit; other systems as far as their rlimits go.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import msgspec

from common import disk
from common.confinement import Confinement, libc
from common.errors import Rejected
from common.jail import Answer, Ended, Failed, OutOfSpace, Refused, Request, Returned

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OPEN_FILES = 64
# Where the child's socket goes, so that everything above can be closed.
_ANSWER_FD = 3


class Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, socket.socket] = {}
        # By module, as each loads what its children may still read.
        self._confinements: dict[str, Confinement] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Fork on request until the caller's end closes; then kill every child and return."""
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Orphans of children come to us instead of to init, so that nothing outlives its run by leaving its group.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    if not self._accept():
                        return self._end()
                elif key.fileobj == wake:
                    os.read(wake, 4096)
                    self._reap()
                else:
                    # The caller has closed its half: nobody wants this run any more. Unless it has just ended, too:
                    # then it is reaped, and its connection closed.
                    if self._children.get(key.data) is not key.fileobj:
                        continue
                    self._selector.unregister(key.fileobj)
                    _kill_group(key.data)

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        if not message:
            return False
        connection, answers = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        with answers:
            self._fork(connection, answers)
        return True

    def _fork(self, connection: socket.socket, answers: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            line = lines.readline()
        if not line:
            connection.close()
            return
        request = msgspec.json.decode(line, type=Request)
        module = request.target.partition(":")[0]
        if module not in self._confinements:
            # Only to share the import's cost: a child meets the same error, and can tell.
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
            self._confinements[module] = Confinement()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            _child(request, answers, self._confinements[module])
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._children[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if connection := self._children.pop(pid, None):
                _kill_group(pid)
                self._report(connection, status, usage)
            for stray in _own_children() - self._children.keys():
                os.kill(stray, signal.SIGKILL)

    def _report(self, connection: socket.socket, status: int, usage: resource.struct_rusage) -> None:
        unit = 1 if sys.platform == "darwin" else 1024
        ended = Ended(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)
        with connection, contextlib.suppress(OSError, KeyError):
            # Never wait for a caller to read.
            connection.send(msgspec.json.encode(ended), socket.MSG_DONTWAIT)
            self._selector.unregister(connection)

    def _end(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in self._children:
                    _kill_group(pid)
                for stray in _own_children():
                    os.kill(stray, signal.SIGKILL)
                self._children.pop(os.wait()[0], None)


def _kill_group(pid: int) -> None:
    # The group may be gone, or not be there yet.
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _own_children() -> set[int]:
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except FileNotFoundError:
        return set()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc.prctl(option, value, 0, 0, 0)


def _child(request: Request, answers: socket.socket, confinement: Confinement) -> NoReturn:
    """Run the request in this fresh process and exit, whatever happens."""
    status = 1
    try:
        _settle(answers.fileno())
        answer = _answer(request, confinement)
        with socket.socket(fileno=_ANSWER_FD) as own:
            own.sendall(msgspec.json.encode(answer) + b"\n")
        status = 0
    finally:
        # Nothing of the zygote's stack, buffers or exit handlers may run here.
        os._exit(status)


def _settle(descriptor: int) -> None:
    """A group of its own, that dies with the zygote, and no descriptors but the one to answer on."""
    os.setpgid(0, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(descriptor, _ANSWER_FD)
    os.dup2(0, 2)
    os.closerange(_ANSWER_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _confine(request: Request, confinement: Confinement) -> None:
    # Made here, as what is confined makes no files: so that what it writes in sum is what one file may have.
    os.close(os.open(request.output, os.O_WRONLY | os.O_CREAT, 0o600))
    limits = request.limits
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, limits.output_bytes)
    # The hard limit is a second later: SIGXCPU can be caught, SIGKILL cannot.
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    # No process or thread may be started. The kernel does not hold root to this; what root starts is killed.
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
    # A machine out of memory kills this process, and not the worker.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    program = request.program[0] if request.program else ""
    confinement.enter(readable=request.input, writable=request.output, program=program, data=request.data)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    # macOS refuses some limits; a limit that is already lower stays.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (soft, soft if hard is None else hard))


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


def _answer(request: Request, confinement: Confinement) -> Answer:
    module, _, name = request.target.partition(":")
    try:
        if request.program:
            _become(request, confinement)
        _confine(request, confinement)
        function = getattr(importlib.import_module(module), name)
        return Returned(function(Path(request.input), Path(request.output), request.options))
    except Rejected as error:
        return Refused(error.message, error.code)
    except MemoryError:
        refusal = request.limits.exceeded("EXTRACT_MEMORY")
        return Refused(refusal.message, refusal.code)
    except Exception as error:  # noqa: BLE001  The process ends here: what is not told now is lost.
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            refusal = request.limits.exceeded("EXTRACT_OUTPUT")
            return Refused(refusal.message, refusal.code)
        if isinstance(error, OSError) and disk.is_full(error):
            return OutOfSpace(f"The disk is full that the text is written to: {error}")
        return Failed("".join(traceback.format_exception(error)))


def _become(request: Request, confinement: Confinement) -> NoReturn:
    """The program in place of this process. It answers by how it ends."""
    output = os.open(request.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    _confine(request, confinement)
    os.dup2(output, 1)
    os.set_inheritable(_ANSWER_FD, False)
    # Python ignores them, and what is ignored stays so.
    for ignored in (signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_DFL)
    os.execve(request.program[0], request.program, {})  # noqa: S606


def main(arguments: Iterable[str]) -> None:
    (descriptor,) = arguments
    Zygote(socket.socket(fileno=int(descriptor))).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
