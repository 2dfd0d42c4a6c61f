"""A step whose child misbehaves, through the runtime: its task ends with a reason, and this process goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.context import Context
from common.jail import Jail, Limits
from tests.integration.rig import Rig

ROOMY = Limits(wall_seconds=30, cpu_seconds=20, memory_bytes=64 << 20, output_bytes=1 << 20)
HURRIED = Limits(wall_seconds=0.5, cpu_seconds=20, memory_bytes=64 << 20, output_bytes=1 << 20)
BUSY = Limits(wall_seconds=30, cpu_seconds=1, memory_bytes=64 << 20, output_bytes=1 << 20)


@pytest.fixture
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


@pytest.fixture
def child(jail: Jail, tmp_path: Path) -> Callable[..., Callable[[Context], None]]:
    """A step that runs one of tests/unit/jail_targets.py."""
    source = tmp_path / "document"
    source.write_text("a document")

    def run(target: str, limits: Limits, output: Path, options: dict[str, Any], ctx: Context) -> None:
        target = f"tests.unit.jail_targets:{target}"
        jail.run(target, input=source, output=output, options=options, limits=limits, check=ctx.check_cancelled)

    def made(target: str, limits: Limits = ROOMY, output: Path = tmp_path / "pages", **options: Any) -> Any:
        return partial(run, target, limits, output, options)

    return made


@pytest.mark.parametrize(
    ("target", "limits", "options", "code"),
    [
        ("segfaults", ROOMY, {}, "EXTRACT_CRASHED"),
        ("loops_deaf", BUSY, {}, "EXTRACT_CPU"),
        ("sleeps_with_everything_closed", HURRIED, {}, "EXTRACT_TIMEOUT"),
        ("hoards_below_python", ROOMY, {}, "EXTRACT_MEMORY"),
        ("scribbles", ROOMY, {}, "EXTRACT_OUTPUT"),
        ("babbles", ROOMY, {"text": "x" * 1024, "times": 2048, "stays": True}, "EXTRACT_CRASHED"),
    ],
)
def test_a_child_that_misbehaves_fails_its_task_once_and_the_next_goes_through(
    rig: Rig, child: Any, target: str, limits: Limits, options: dict[str, Any], code: str
) -> None:
    before = os.getpid()
    rig.before["EXTRACT_TEXT"] = child(target, limits, **options)
    task_id = rig.arrive()
    rig.run()
    task = rig.task(task_id)
    assert task["status"] == "FAILED"
    (failed,) = [step for step in task["task_details"] if step["status"] == "FAILED"]
    assert (failed["error_code"], failed["attempt"]) == (code, 1)
    rig.before["EXTRACT_TEXT"] = child("copies")
    following = rig.arrive(key="incoming/b.txt")
    rig.run()
    assert rig.task(following)["status"] == "COMPLETED"
    assert os.getpid() == before


def test_a_disk_that_is_full_puts_a_step_off_and_uses_up_no_attempt(rig: Rig, child: Any) -> None:
    tries = []

    def full(ctx: Context) -> None:
        tries.append(rig.task(task_id)["task_details"][1])
        if len(tries) > rig.services.settings.max_attempts + 1:
            rig.before["EXTRACT_TEXT"] = child("copies")
        child("copies", output=Path("/dev/full"))(ctx)

    rig.before["EXTRACT_TEXT"] = full
    task_id = rig.arrive()
    rig.run_without_waiting()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert tries[1]["error_message"] == "The worker's disk is full."
    assert {one["attempt"] for one in tries} == {1}
