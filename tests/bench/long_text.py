"""A very long text: extraction, preprocessing and splitting must not hold it in memory."""

from __future__ import annotations

import time

from common import tasks
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, usage_data
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_MB = 10**6
_PEAK_MB = (1 << 30) / _MB
_STEPS = ("VALIDATE", "EXTRACT_TEXT", "PREPROCESS", "SPLIT")
_POLL_SECONDS = 0.25
_LONGEST_SECONDS = 900.0


def measure(system: System, corpus: Corpus, megabytes: int, say: Say) -> Outcome:
    path = corpus.text(megabytes)
    key = "incoming/bench/long.txt"
    system.ingest([b"Only to open the jail and every connection."], suffix=".txt")
    with system.watch() as watch:
        with path.open("rb") as file:
            system.objects.admin.put_object(Bucket=system.settings.bucket, Key=key, Body=file)
        task_id, seconds = _await_split(system, key)
        with system.database.transaction() as connection:
            tasks.cancel(connection, [task_id], code="BENCH", message="The bench has seen enough.")
        depths = system.drain()
    say(", ".join(f"{name} {took:.1f} s" for name, took in seconds.items()))
    highest = max(watch.usage, key=lambda name: watch.usage[name].peak_bytes)
    return Outcome(
        f"a text of {megabytes} MiB, until it is split",
        [
            Figure(
                f"largest process ({highest})",
                round(watch.usage[highest].peak_bytes / _MB),
                "MB",
                at_most=_PEAK_MB,
            ),
            *(Figure(name, round(took, 1), "s") for name, took in seconds.items()),
            Figure("messages left after it was cancelled", sum(depths.values()), at_most=0),
        ],
        {"processes": usage_data(watch.usage)},
    )


def _await_split(system: System, key: str) -> tuple[str, dict[str, float]]:
    """The task, and the seconds that each step took, once all of them are COMPLETED."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        system.check()
        rows = system.query(
            """
            SELECT task.id, task.status AS task_status, task.error_message, step.step_name, step.status,
                extract(epoch FROM step.completed_at - step.started_at) ::float AS seconds
            FROM documents AS document
                JOIN tasks AS task ON task.document_id = document.id
                JOIN task_details AS step ON step.task_id = task.id AND step.step_name = ANY(:steps)
            WHERE document.object_key = :key ORDER BY step.step_order
            """,
            key=key,
            steps=list(_STEPS),
        )
        if rows and rows[0].task_status == "FAILED":
            raise BenchFailed(f"The long text failed: {rows[0].error_message}")
        if rows and all(row.status == "COMPLETED" for row in rows):
            return rows[0].id, {row.step_name: row.seconds for row in rows}
        time.sleep(_POLL_SECONDS)
    raise BenchFailed(f"The long text was not split within {_LONGEST_SECONDS:.0f} s.")
