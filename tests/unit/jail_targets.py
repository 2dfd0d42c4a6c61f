"""What test_jail.py runs in the jail: functions that behave, and that misbehave in every way a parser can."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
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


def babbles(_: Path, __: Path, options: Options) -> dict[str, Any]:
    """Write `text`, so many times, in place of an answer, and go on as if nothing were."""
    with socket.socket(fileno=3) as answers:
        for _time in range(options.get("times", 1)):
            answers.sendall(options["text"].encode())
    if options.get("stays"):
        signal.pause()
    os._exit(0)


def loops_deaf(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    """Below Python, with every signal ignored that can be."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    re.match(r"(a+)+$", "a" * 60 + "b")
    return {}


def hoards_below_python(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    """As a C library does that never looks at what malloc(3) returned."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    while True:
        ctypes.memset(libc.malloc(1 << 20), 1, 1 << 20)


def sleeps_with_everything_closed(_: Path, __: Path, ___: Options) -> dict[str, Any]:
    os.closerange(0, 64)
    while True:
        signal.pause()
