"""What the bench reads from /proc."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.processes import Watch
from tests.processes import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux has /proc")

_MB = 10**6
# Takes memory and gives it back at once; then computes until its input ends; a line of output after each.
_GREEDY = "bytes(b'x' * 200_000_000); print(flush=True); [n * n for n in range(5_000_000)]; print(flush=True); input()"
_PARENT = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {_GREEDY!r}]))"


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_peak_is_seen_though_the_memory_was_given_back() -> None:
    with started("input();" + _GREEDY) as process, Watch({"it": process.pid}) as watch:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
    # Two copies of it live at once, and an interpreter takes some 10 MB.
    assert 200 * _MB < watch.usage["it"].peak_bytes < 450 * _MB


def test_what_was_used_before_does_not_count() -> None:
    with started(_GREEDY) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        with Watch({"it": process.pid}) as watch:
            pass
    assert watch.usage["it"].peak_bytes < 100 * _MB
    assert watch.usage["it"].cpu_seconds < 0.1


def test_children_count_as_part_of_what_started_them() -> None:
    with started("input();" + _PARENT) as process, Watch({"it": process.pid}) as watch:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.readline()
    assert watch.usage["it"].cpu_seconds > 0.1
    assert watch.usage["it"].peak_bytes > 200 * _MB


def test_a_child_that_has_ended_still_counts() -> None:
    child = "[n * n for n in range(5_000_000)]"
    run = f"subprocess.call([sys.executable, '-c', {child!r}])"
    parent = f"import subprocess, sys; input(); {run}; print(flush=True); input()"
    with started(parent) as process, Watch({"it": process.pid}) as watch:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
    assert watch.usage["it"].cpu_seconds > 0.1


def test_an_ended_process_used_nothing_and_harms_nothing() -> None:
    with started("input()") as process, Watch({"it": process.pid}) as watch:
        process.kill()
        wait_until(lambda: process.poll() is not None, seconds=10, what="the end")
    assert watch.usage["it"].peak_bytes == 0
    assert watch.usage["bench"].peak_bytes > 0
