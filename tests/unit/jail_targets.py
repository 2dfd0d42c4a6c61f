"""What test_jail.py runs in the jail: functions that behave, and that misbehave in every way a parser can."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import Rejected

Options = Mapping[str, Any]


def copies(source: Path, output: Path, options: Options) -> dict[str, Any]:
    output.write_bytes(source.read_bytes())
    return {"copied": source.stat().st_size, **options}


def tells_where_it_is(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    descriptors = [number for number in range(3, 64) if _is_open(number)]
    return {"environment": dict(os.environ), "directory": str(Path.cwd()), "descriptors": descriptors}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def rejects(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    raise Rejected("This file is no good.", code="NO_GOOD")


def has_a_bug(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    return {"ratio": 1 / len("")}


def sleeps(_: Path, output: Path, ___: Options) -> dict[str, Any]:
    output.write_text(str(os.getpid()))
    while True:
        signal.pause()


def loops(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    while True:
        pass


def hoards(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def scribbles(_: Path, output: Path, ___: Options) -> dict[str, Any]:
    with output.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))


def segfaults(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def aborts_when_memory_is_out(_: Path, __: Path, options: Options) -> dict[str, Any]:
    hoard = b"\1" * options["bytes"]
    os.abort()
    return {"size": len(hoard)}


def forks(_: Path, output: Path, ___: Options) -> dict[str, Any]:
    """Start a process that leaves the group, and one that stays, then return."""
    pids = []
    for leaves in (True, False):
        try:
            pid = os.fork()
        except OSError:
            # Whoever is not root cannot even start it.
            continue
        if pid == 0:
            if leaves:
                os.setsid()
            while True:
                time.sleep(60)
        pids.append(pid)
    output.write_text(" ".join(map(str, pids)))
    return {}


def babbles(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    with socket.socket(fileno=3) as answers:
        answers.sendall(b'{"type": "Returned", "deta')
    os._exit(0)


def kills_its_keeper(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    os.kill(os.getppid(), signal.SIGKILL)
    return {}
