"""What test_confinement.py has the jail's child try: each function does what a hostile file's code would, and may."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_F_SETSIG = 10
_PTRACE_ATTACH = 16
_CLONE_NEWUSER = 0x10000000
# The same on every machine.
_PIDFD_OPEN, _IO_URING_SETUP = 434, 425
# On x86_64 and on others.
_X86 = os.uname().machine == "x86_64"
_MEMFD_CREATE = 319 if _X86 else 279
_BPF = 321 if _X86 else 280


class Options(dict[str, Any]):
    """`secret`, `input`, `output` and `around`: paths. `port`, `address`: where somebody listens. `worker`: its pid."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def attempts(_: Path, __: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """What became of `name`: the error that it met, or "" if it went through."""
    try:
        ATTEMPTS[options["name"]](Options(options))
    except (OSError, RuntimeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": ""}


def _called(number: int, *arguments: Any) -> None:
    if _libc.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _forks(_: Options) -> None:
    if os.fork() == 0:
        os._exit(0)


def _starts_a_thread(_: Options) -> None:
    threading.Thread(target=print).start()


def _connects(options: Options) -> None:
    socket.create_connection(("127.0.0.1", options.port), timeout=5).close()


def _connects_by_unix_socket(options: Options) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(options.address)


def _listens(_: Options) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def _has_the_kernel_kill_the_worker(options: Options) -> None:
    """A pipe whose owner is another gets it a signal of one's choice when there is something to read."""
    reads, writes = os.pipe()
    fcntl.fcntl(reads, _F_SETSIG, signal.SIGCONT)
    fcntl.fcntl(reads, fcntl.F_SETOWN, options.worker)
    fcntl.fcntl(reads, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writes, b"x")


def _takes_more_than_its_share(_: Options) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _limits_the_worker(options: Options) -> None:
    resource.prlimit(options.worker, resource.RLIMIT_CORE, (0, 0))


ATTEMPTS: dict[str, Callable[[Options], object]] = {
    # Files
    "reads a secret": lambda options: Path(options.secret).read_bytes(),
    "reads beside its input": lambda options: Path(options.around, "another").read_bytes(),
    "lists the directory of its input": lambda options: list(Path(options.around).iterdir()),
    "reads the worker's environment": lambda options: Path(f"/proc/{options.worker}/environ").read_bytes(),
    "reads the worker's memory": lambda options: os.open(f"/proc/{options.worker}/mem", os.O_RDONLY),
    "reads the users": lambda _: Path("/etc/passwd").read_bytes(),
    "reads the checkout beside the code": lambda _: Path(__file__).parents[2].joinpath("README.md").read_bytes(),
    "writes its input": lambda options: Path(options.input).write_bytes(b"x"),
    "cuts its input": lambda options: os.truncate(options.input, 0),
    "writes beside its output": lambda options: Path(options.around, "new").write_bytes(b"x"),
    "makes a directory": lambda options: Path(options.around, "new").mkdir(),
    "makes a link": lambda options: Path(options.around, "new").symlink_to("/"),
    "makes a nameless file": lambda options: os.open(options.around, os.O_TMPFILE | os.O_RDWR),
    "removes its output": lambda options: Path(options.output).unlink(),
    "renames its output": lambda options: Path(options.output).rename(Path(options.around, "new")),
    "writes into memory": lambda _: Path("/dev/shm/brigade-escape").write_bytes(b"x"),
    "opens a secret to all": lambda options: Path(options.secret).chmod(0o777),
    "gives a secret away": lambda options: os.chown(options.secret, 65534, 65534),
    "dates a secret": lambda options: os.utime(options.secret, (0, 0)),
    "makes a file without a directory": lambda _: _called(_MEMFD_CREATE, b"x", 0),
    # Network
    "connects by TCP": _connects,
    "connects by a Unix socket": _connects_by_unix_socket,
    "listens": _listens,
    "makes a pair of sockets": lambda _: socket.socketpair(),
    "asks io_uring": lambda _: _called(_IO_URING_SETUP, 1, ctypes.create_string_buffer(120)),
    # Processes
    "forks": _forks,
    "starts a thread": _starts_a_thread,
    "becomes a program": lambda _: os.execv("/bin/true", ["true"]),
    "starts a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "leaves its group": lambda _: os.setsid(),
    "takes namespaces of its own": lambda _: _checked(_libc.unshare(_CLONE_NEWUSER)),
    # Others
    "kills the worker": lambda options: os.kill(options.worker, signal.SIGCONT),
    "kills the zygote": lambda _: os.kill(os.getppid(), signal.SIGCONT),
    "kills everybody": lambda _: os.kill(-1, signal.SIGCONT),
    "has the kernel kill the worker": _has_the_kernel_kill_the_worker,
    "traces the worker": lambda options: _checked(_libc.ptrace(_PTRACE_ATTACH, options.worker, 0, 0)),
    "takes hold of the worker": lambda options: _called(_PIDFD_OPEN, options.worker, 0),
    "puts itself before the worker": lambda options: os.setpriority(os.PRIO_PROCESS, options.worker, 19),
    "takes more than its share": _takes_more_than_its_share,
    "limits the worker": _limits_the_worker,
    # The kernel
    "loads a program into the kernel": lambda _: _called(_BPF, 0, ctypes.create_string_buffer(64), 64),
    "calls what is newer than the list": lambda _: _called(460),
    "calls by the numbers of x32": lambda _: _called(0x40000000 | 39),
}


def signals_itself(_: Path, __: Path, ___: Mapping[str, Any]) -> dict[str, Any]:
    """What abort(3) needs."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    return {}
