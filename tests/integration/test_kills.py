"""A worker is killed by SIGKILL in each step: the task completes, and nothing is there twice.

At one point in each step, so that each point there is has its turn; the rounds of tests/chaos kill at others, and
`make chaos` at all points of all steps.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.system import System, wait_for

# Where the worker dies on the document's way, once in each step.
WALK = {
    "UPLOAD": "after_publish",
    "VALIDATE": "after_run",
    "EXTRACT_TEXT": "after_publish",
    "PREPROCESS": "after_claim",
    "SPLIT": "after_finish",
    "VECTORIZE": "after_claim",
    "STORE": "after_run",
}

# Enough for three batches of VECTORIZE, so that some are done and some are not when the worker dies. Small chunks: what
# is embedded takes the longest by far.
PARAGRAPHS = 70
CHUNK_TOKENS = 32


def document() -> bytes:
    sentence = "Paragraph {} tells of the well, of the fire, and of {} people who hand on the buckets between them. "
    return "\n\n".join(sentence.format(n, n + 2).strip() for n in range(PARAGRAPHS)).encode()


@pytest.mark.timeout(300)
def test_a_worker_killed_in_every_step_loses_nothing_and_doubles_nothing(system: System, tmp_path: Path) -> None:
    flags = {step: tmp_path / step for step in WALK}
    for flag in flags.values():
        flag.touch()
    failpoints = ",".join(f"{point}:{step}={flags[step]}" for step, point in WALK.items())
    key = f"incoming/{uuid4()}-kill/long.txt"
    with system.worker(
        BRIGADE_FAILPOINTS=failpoints, BRIGADE_CHUNK_TOKENS=str(CHUNK_TOKENS), BRIGADE_CHUNK_OVERLAP_TOKENS="0"
    ):
        system.put(key, document())
        task = system.ended(system.task_of(key), seconds=240)
    assert [flag.name for flag in flags.values() if flag.exists()] == [], "these steps were not killed"
    assert task.status == "COMPLETED"
    assert system.tasks_of(key) == [task.task_id]
    _each_done_once(system, task.task_id, str(task.document_id))


def _each_done_once(system: System, task_id: str, document_id: str) -> None:
    rows = system.sql("SELECT step_order, batch, status FROM task_details WHERE task_id = :id", id=task_id)
    assert {row.status for row in rows} == {"COMPLETED"}
    assert sorted(row.batch for row in rows if row.step_order == 6) == [0, 1, 2, 3]
    (split,) = system.sql("SELECT details FROM task_details WHERE task_id = :id AND step_name = 'SPLIT'", id=task_id)
    chunks = split.details["chunks"]
    expected = sorted(f"{document_id}:1:{number}" for number in range(chunks))
    # Late runs of a killed worker's twin would show here.
    assert wait_for(lambda: system.rows_of(document_id), "rows in Milvus") == expected
