"""What a process tree used, from Linux's /proc: CPU time, and the largest memory that any process of it had."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Children of the jail live for milliseconds. Looking costs 0.1 ms.
_LOOK_SECONDS = 0.02
_ZYGOTE = b"common.jail_zygote"


@dataclass(frozen=True, slots=True)
class Usage:
    """`peak_bytes`: the largest resident set of any one process, pages shared with others included."""

    cpu_seconds: float
    peak_bytes: int


class Watch:
    """What groups of processes use between entering and leaving. `roots`: the process that leads each group.

    The jail of a worker makes two groups of its own, `zygote` and `child`; a child's CPU time counts as the zygote's.
    This process is the group `bench`: what it takes, the measured lack.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = dict(roots)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._child_peak = 0
        self._zygotes: list[int] = []
        self.usage: dict[str, Usage] = {}

    def __enter__(self) -> Self:
        groups = self._groups()
        self._zygotes = groups.get("zygote", [])
        for pid in _all(groups):
            _forget_peak(pid)
        self._before = {name: sum(map(_cpu_seconds, pids)) for name, pids in groups.items()}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for name, pids in self._groups().items():
            cpu = sum(map(_cpu_seconds, pids)) - self._before.get(name, 0.0)
            self.usage[name] = Usage(round(cpu, 2), max(map(_peak_bytes, pids), default=0))
        if self._child_peak:
            self.usage["child"] = Usage(0.0, self._child_peak)

    def _groups(self) -> dict[str, list[int]]:
        groups = {name: _descendants(pid) for name, pid in self._roots.items()}
        zygotes = [pid for pid in groups.get("worker", []) if _ZYGOTE in _command(pid)]
        groups["bench"] = [os.getpid()]
        if zygotes:
            # Its children look the same: they are forked and execute nothing.
            groups["zygote"] = zygotes[:1]
            groups["worker"] = [pid for pid in groups["worker"] if pid not in zygotes]
        return groups

    def _look_on(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            for zygote in self._zygotes:
                for child in _children(zygote):
                    self._child_peak = max(self._child_peak, _peak_bytes(child))


def _all(groups: Mapping[str, list[int]]) -> list[int]:
    return [pid for pids in groups.values() for pid in pids]


def _descendants(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    found = [pid]
    for one in found:
        found += _children(one)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # A process, or a thread of it, may end between two looks.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found


def _command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return (_PROC / str(pid) / "cmdline").read_bytes()
    return b""


def _cpu_seconds(pid: int) -> float:
    """User and system time, that of its ended children included."""
    with suppress(FileNotFoundError, ProcessLookupError):
        # The name, which may hold anything, ends at the last bracket; utime, stime, cutime, cstime are fields 14 to 17.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def _peak_bytes(pid: int) -> int:
    """The largest resident set since the process began, or since `_forget_peak`."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _forget_peak(pid: int) -> None:
    # Without the right to it, peaks count from each process's beginning, which is more and never less.
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        (_PROC / str(pid) / "clear_refs").write_text("5")
