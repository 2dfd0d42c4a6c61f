"""What a process that reads a hostile file gives up for good: files, network, processes, and root's powers. Linux only.

Three of the kernel's means, each by its system calls, as neither needs a library or any right:

- Landlock (landlock(7), <linux/landlock.h>): which files it may still open. From 5.13 on; each version refuses more.
- seccomp (seccomp(2), <linux/filter.h>): which system calls fail with EPERM. The filter allows what it does not name:
  parsers stay what they are, and what else is dangerous asks for a capability, which
- capset(2) takes away, for those who run as root.

Elsewhere nothing of it is there, and nothing fails: `protections` says what is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from common import system_calls
from common.programs import executables

libc = ctypes.CDLL(None, use_errno=True)

# <linux/prctl.h>, <linux/seccomp.h>, <linux/capability.h>
_PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 21, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2

# By platform.machine(): the column above, and AUDIT_ARCH_X86_64 and _AARCH64 of <linux/audit.h>.
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# <linux/landlock.h>; the numbers of its system calls are the same everywhere.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 0, 1 << 2, 1 << 3, 1 << 1, 1 << 14
# What each version of Landlock can refuse: to do to files (13 things at first, then REFER, TRUNCATE, IOCTL_DEV), to
# bind and connect by TCP, and to reach beyond the process's like by abstract sockets and by signals.
_FILE_ACCESS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_ACCESS_NOW = 16
_NETWORK_SINCE, _SCOPES_SINCE, _TRUNCATE_SINCE = 4, 6, 3
# Where shared libraries are that Python's own modules may still load.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")


def protections() -> dict[str, int | bool]:
    """Landlock's version, 0 where there is none, and whether there is seccomp."""
    return {"landlock": _landlock_version(), "seccomp": _has_seccomp()}


class Confinement:
    """Worked out before the fork, by a process that has loaded the code that its children run."""

    def __init__(self) -> None:
        self._landlock = _landlock_version()
        self._code = code_paths()
        self._filter = _filter() if _has_seccomp() else None

    def enter(self, *, readable: str, writable: str, program: str = "", data: Iterable[str] = ()) -> None:
        """From now on this process, which must have one thread, reads only code and this file, and writes that file.

        It makes no files, opens no sockets, starts no processes or threads and signals only itself. There is no way
        back. `program`: what it may become, which alone it may execute, and what that reads beside. Raises OSError
        where the kernel has a protection and refuses it.
        """
        if sys.platform != "linux":
            return
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        if self._landlock:
            _restrict_files(
                self._landlock, (*self._code, *data, readable), writable, executables(program) if program else ()
            )
        _drop_capabilities()
        if self._filter is not None:
            # What it becomes is held to the same filter, and by Landlock to becoming nothing else.
            _filter_calls(_filter(becomes_another=True) if program else self._filter)


def code_paths() -> tuple[str, ...]:
    """Files and directories that Python needs to go on importing: its own, and those of the packages loaded so far.

    Never an entry of sys.path as such: an editable install has a checkout there, with secrets beside the code.
    """
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [*_LIBRARIES, f"{sys.base_prefix}/lib", *(sysconfig.get_path(name) for name in names)]
    for name, module in list(sys.modules.items()):
        if "." not in name:
            found += [*getattr(module, "__path__", ())] or [getattr(module, "__file__", None) or ""]
    paths: list[str] = []
    for path in sorted(os.path.realpath(path) for path in found if path and os.path.exists(path)):  # noqa: PTH110
        # In their order, what is within a directory follows it.
        if not any(path == other or path.startswith(other + "/") for other in paths):
            paths.append(path)
    return tuple(paths)


def _landlock_version() -> int:
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, 0, 1))


def _restrict_files(version: int, readable: Iterable[str], writable: str, executable: Iterable[str] = ()) -> None:
    files = (1 << _FILE_ACCESS.get(version, _FILE_ACCESS_NOW)) - 1
    network = 3 if version >= _NETWORK_SINCE else 0
    scopes = 3 if version >= _SCOPES_SINCE else 0
    # Earlier versions take the struct of a later one as long as the rest is zeros.
    attributes = struct.pack("=QQQ", files, network, scopes)
    ruleset = _checked(_syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    for path in readable:
        _allow(ruleset, path, _READ_FILE | _READ_DIR)
    for path in executable:
        _allow(ruleset, path, _READ_FILE | _EXECUTE)
    _allow(ruleset, writable, _WRITE_FILE | (_TRUNCATE if version >= _TRUNCATE_SINCE else 0))
    _checked(_syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # Not on this system, or not for us.
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        access &= ~_READ_DIR
    rule = struct.pack("=Qi", access, descriptor)
    _checked(_syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
    os.close(descriptor)


def _drop_capabilities() -> None:
    """All but to read what is another user's, where root has that: Python may be."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    held = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, held), "capget")
    permitted = struct.unpack("=6I", held.raw)[1]
    kept = permitted & _CAP_DAC_READ_SEARCH
    _checked(libc.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)), "capset")


def _has_seccomp() -> bool:
    # The system calls of a 32-bit Python are others.
    known = platform.machine() in _MACHINES and sys.maxsize > 1 << 32
    return sys.platform == "linux" and known and libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def _filter(*, becomes_another: bool = False) -> bytes:
    allowed = ("execve",) if becomes_another else ()
    return b"".join(_program(*_MACHINES[platform.machine()], _SOME_PID, allowed))


def _filter_calls(code: bytes) -> None:
    code = code.replace(struct.pack("=I", _SOME_PID), struct.pack("=I", os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, each of eight bytes, and where they are.
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0), "PR_SET_SECCOMP")


# Classic BPF (<linux/bpf_common.h>): load a word of struct seccomp_data, compare it, return a verdict.
_LOAD, _IF_EQUAL, _IF_GREATER, _RETURN = 0x20, 0x15, 0x25, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# Stands for the child's, which is known when it runs; no process can have it.
_SOME_PID = 0xFEEDC0DE


def _program(column: int, architecture: int, pid: int, allowed: Collection[str] = ()) -> Iterator[bytes]:
    """The filter. What follows a comparison and is not for its case is jumped over. `allowed`: calls by name."""
    no = _ERRNO | errno.EPERM
    yield from (_step(_LOAD, _ARCHITECTURE), _step(_IF_EQUAL, architecture, skip=(1, 0)), _step(_RETURN, no))
    yield from (_step(_LOAD, _NUMBER), _step(_IF_GREATER, system_calls.LAST_KNOWN, skip=(0, 1)))
    yield _step(_RETURN, _ERRNO | errno.ENOSYS)
    for name, numbers in system_calls.DENIED.items():
        if name not in allowed and (number := numbers[column]) is not None:
            yield from (_step(_IF_EQUAL, number, skip=(0, 1)), _step(_RETURN, no))
    for numbers in system_calls.TO_ITSELF.values():
        yield from _by_argument(numbers[column], 0, (0, pid), _ALLOW, no)
    for numbers, commands in system_calls.EXCEPT.values():
        yield from _by_argument(numbers[column], 1, commands, no, _ALLOW)
    yield _step(_RETURN, _ALLOW)


def _by_argument(
    number: int | None, argument: int, values: tuple[int, ...], verdict: int, otherwise: int
) -> Iterator[bytes]:
    """The verdict if the argument has one of the values: its lower half, as the kernel takes these for an int."""
    if number is None:
        return
    yield _step(_IF_EQUAL, number, skip=(0, 2 + 2 * len(values)))
    yield _step(_LOAD, _ARGUMENTS + 8 * argument)
    for value in values:
        yield from (_step(_IF_EQUAL, value, skip=(0, 1)), _step(_RETURN, verdict))
    yield _step(_RETURN, otherwise)


def _step(code: int, operand: int, *, skip: tuple[int, int] = (0, 0)) -> bytes:
    """struct sock_filter: the code, how many to skip if true and if false, the operand."""
    return struct.pack("=HBBI", code, *skip, operand)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    long = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return int(libc.syscall(ctypes.c_long(number), *long))


def _checked(result: int, doing: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{doing}: {os.strerror(ctypes.get_errno())}")
    return result
