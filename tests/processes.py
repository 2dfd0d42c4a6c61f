"""What runs on this machine, as `ps` tells it on Linux and macOS alike; and waiting for a condition."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# As Linux writes 127.0.0.1 and ::1.
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


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


def listening_of(*pids: int) -> list[str]:
    """The address of each port that these and their descendants listen on, as Linux writes it under /proc."""
    sockets = {
        file.stat().st_ino
        for pid in descendants(*pids)
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if file.exists() and file.is_socket()
    }
    return [
        address.split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        for _, address, _, state, *_, inode in [line.split()[:10]]
        if state == "0A" and int(inode) in sockets
    ]


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)  # between two looks at the condition
