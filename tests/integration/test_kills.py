"""A worker is killed by SIGKILL at each named point of each step: the task completes, and nothing is there twice."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.system import System, wait_for

STEPS = ("VALIDATE", "EXTRACT_TEXT", "PREPROCESS", "SPLIT", "VECTORIZE", "STORE")
POINTS = ("after_claim", "after_run", "after_finish", "after_publish")

# Enough for three batches of VECTORIZE, so that some are done and some are not when the worker dies.
PARAGRAPHS = 70


def document() -> bytes:
    sentence = "Paragraph {} tells of the well, of the fire, and of {} people who hand on the buckets between them. "
    return "\n\n".join((sentence.format(n, n + 2) * 9).strip() for n in range(PARAGRAPHS)).encode()


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_in_every_step_loses_nothing_and_doubles_nothing(
    system: System, tmp_path: Path, point: str
) -> None:
    flags = {step: tmp_path / step for step in STEPS}
    for flag in flags.values():
        flag.touch()
    failpoints = ",".join(f"{point}:{step}={flag}" for step, flag in flags.items())
    key = f"incoming/{uuid4()}-kill/long.txt"
    with system.worker(BRIGADE_FAILPOINTS=failpoints):
        system.put(key, document())
        task = system.ended(system.task_of(key), seconds=150)
    assert [flag.name for flag in flags.values() if flag.exists()] == [], "these steps were not killed"
    assert task.status == "COMPLETED"
    assert system.tasks_of(key) == [task.task_id]
    _each_done_once(system, task.task_id, str(task.document_id))


@pytest.mark.parametrize("point", ["after_finish", "after_publish"])
def test_a_worker_killed_while_it_takes_an_event_in_starts_one_task(system: System, tmp_path: Path, point: str) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    key = f"incoming/{uuid4()}-kill/short.txt"
    with system.worker(BRIGADE_FAILPOINTS=f"{point}:UPLOAD={flag}"):
        system.put(key, b"A short text about water.")
        task = system.ended(system.task_of(key), seconds=60)
    assert not flag.exists()
    assert task.status == "COMPLETED"
    assert system.tasks_of(key) == [task.task_id]


def _each_done_once(system: System, task_id: str, document_id: str) -> None:
    rows = system.sql("SELECT step_order, batch, status FROM task_details WHERE task_id = :id", id=task_id)
    assert {row.status for row in rows} == {"COMPLETED"}
    assert sorted(row.batch for row in rows if row.step_order == 6) == [0, 1, 2, 3]
    (split,) = system.sql("SELECT details FROM task_details WHERE task_id = :id AND step_name = 'SPLIT'", id=task_id)
    chunks = split.details["chunks"]
    expected = sorted(f"{document_id}:1:{number}" for number in range(chunks))
    # Late runs of a killed worker's twin would show here.
    assert wait_for(lambda: system.rows_of(document_id), "rows in Milvus") == expected
