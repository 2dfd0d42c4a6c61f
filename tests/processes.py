"""What runs on this machine, as `ps` tells it on Linux and macOS alike; and waiting for a condition."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def running() -> dict[int, int]:
    """Every process that is not a zombie, with its parent."""
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listing.splitlines())
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def descendants(*ancestors: int) -> set[int]:
    """Their children, and theirs, and so on; with the ancestors themselves."""
    parents = running()
    found = {pid for pid in ancestors if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)  # between two looks at the condition
