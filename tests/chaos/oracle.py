"""The one judge of all fault tests: whether Postgres, the store and Milvus hold exactly what was acknowledged.

The bucket is the truth about what there is, once it has been compared with what the writers were told. All that is
wrong is told at once, in four kinds: lost, doubled, stuck, wrong.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import BrigadeError
from router import topology
from tests.chaos import documents
from tests.chaos.documents import Body
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.stage import Stage

LOST, DOUBLED, STUCK, WRONG = "lost", "doubled", "stuck", "wrong"

_LOOK_SECONDS = 0.5
_BATCH = 32  # chunks in a batch of VECTORIZE, by router/table.py
_SEARCHES = 3
# A message that waits here is for a step that has ended, and will be dropped: nobody waits ten minutes for that.
_SLOW_RUNGS = {topology.rung(seconds) for seconds in topology.LADDER_SECONDS if seconds > 10}


@dataclass(frozen=True, order=True)
class Fault:
    """Something that is not as it should be."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """`seconds`: until nothing was in flight any more and all was as it should be, or until patience ended."""

    faults: list[Fault]
    seconds: float

    def count(self, kind: str) -> int:
        return sum(fault.kind == kind for fault in self.faults)


class Oracle:
    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._system = stage.system
        self._ledger = ledger

    def judge(self, patience_seconds: float) -> Verdict:
        """Wait until nothing is in flight and nothing is wrong; if that does not come, say what is wrong."""
        began = time.monotonic()
        pause = threading.Event()
        while True:
            faults = self._look()
            waited = time.monotonic() - began
            if not faults:
                return Verdict([], waited)
            if waited > patience_seconds:
                return Verdict(sorted({*faults, *self._look(all_of_it=True)}), waited)
            pause.wait(_LOOK_SECONDS)

    def _look(self, *, all_of_it: bool = False) -> list[Fault]:
        """The costly comparison only when nothing moves any more, or nothing will."""
        try:
            moving = list(self._in_flight())
            return moving + self._examine() if all_of_it or not moving else moving
        except BrigadeError as error:
            return [Fault(STUCK, f"cannot be examined: {error.message}")]

    def _in_flight(self) -> Iterator[Fault]:
        for row in self._system.sql(
            """
            SELECT task.id, task.type, task.status, document.object_key,
                (SELECT string_agg(step_name || '/' || step.batch || ' ' || step.status
                    || ' (attempt ' || attempt || coalesce(', ' || step.error_code, '') || ')', ', ')
                 FROM task_details AS step WHERE step.task_id = task.id AND ready_at IS NOT NULL
                    AND step.status IN ('PENDING', 'RUNNING')) AS steps,
                (SELECT bool_or(etag IS NOT NULL) FROM document_versions AS version
                 WHERE version.task_id = task.id) AS arrived
            FROM tasks AS task LEFT JOIN documents AS document ON document.id = task.document_id
            WHERE task.status IN ('PENDING', 'RUNNING')
            """
        ):
            # An upload that was announced and never acknowledged may still come.
            if row.status == "PENDING" and not row.arrived and not self._was_put(row.object_key):
                continue
            yield Fault(STUCK, f"{row.type} {row.id} of {row.object_key} is {row.status}: {row.steps or 'no step'}")
        for name, count in self._stage.queues().items():
            if count and name != topology.DEAD and name not in _SLOW_RUNGS:
                yield Fault(STUCK, f"{count} messages on {name}")

    def _was_put(self, key: str | None) -> bool:
        return key in {entry.key for entry in self._ledger.entries if entry.puts or not entry.certain} and (
            key in self._bucket()
        )

    def _bucket(self) -> dict[str, str]:
        """ETags by key."""
        client = self._system.services.objects.admin
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._system.settings.bucket)
        return {one["Key"]: one["ETag"].strip('"') for page in pages for one in page.get("Contents", [])}

    def _examine(self) -> list[Fault]:
        bucket = self._bucket()
        state = _State.read(self._stage)
        faults = [fault for entry in self._ledger.entries for fault in self._of_key(entry, bucket, state)]
        faults += state.orphans({entry.key for entry in self._ledger.entries})
        faults += self._steps()
        faults += self._artifacts(bucket)
        faults += self._dead()
        faults += self._completions()
        return faults or list(self._searches())

    def _of_key(self, entry: Entry, bucket: Mapping[str, str], state: _State) -> Iterator[Fault]:
        etag = bucket.get(entry.key)
        there = entry.bodies.get(etag) if etag else None
        if etag and there is None:
            yield Fault(WRONG, f"{entry.key}: the bucket holds what nobody put")
            return
        if entry.certain and there != entry.body:
            yield Fault(WRONG, f"{entry.key}: the store lost what it acknowledged, or kept what it removed")
        row = state.documents.get(entry.key)
        if there is None or etag is None:
            # The document of an upload that never came stays until it expires.
            if row is not None and row.etag is not None:
                yield Fault(LOST, f"{entry.key}: its removal: {row.id} is still shown")
            return
        if row is None or row.etag is None:
            yield Fault(LOST, f"{entry.key}: it is in the bucket and no document of it anywhere")
        elif row.etag != etag:
            yield Fault(LOST, f"{entry.key}: version {row.version} is of other bytes than the bucket's")
        else:
            yield from self._of_version(entry, there, row, state)

    def _of_version(self, entry: Entry, body: Body, row: Any, state: _State) -> Iterator[Fault]:
        expected = {body.status} | ({"CANCELLED", body.status} if row.task_id in entry.free else set())
        told = f"{entry.key} ({body.kind}), version {row.version}, task {row.task_id}"
        if row.status not in expected:
            yield Fault(WRONG, f"{told}: {row.status} ({row.error_code}: {row.error_message}), not {body.status}")
            return
        rows = state.vectors.get(row.id, [])
        if row.status != "COMPLETED":
            # An older version that was completed shows meanwhile.
            others = [one["id"] for one in rows if not one["id"].startswith(f"{row.id}:{row.shown}:")]
            if others:
                yield Fault(DOUBLED, f"{told}, which is {row.status}: {len(others)} vectors of no version that shows")
            return
        found = Counter(one["id"] for one in rows)
        wanted = Counter(f"{row.id}:{row.version}:{number}" for number in range(row.chunks))
        if found - wanted:
            yield Fault(DOUBLED, f"{told}: vectors too many: {_some(found - wanted)}")
        if wanted - found:
            yield Fault(LOST, f"{told}: vectors missing: {_some(wanted - found)}")
        # Not by what the steps noted, but by the text itself.
        in_index = Counter(documents.marks_in(" ".join(one["text"] for one in rows)))
        if not found - wanted and not wanted - found and in_index != Counter(body.marks):
            yield Fault(WRONG, f"{told}: its passages are not its text: {_some(in_index - Counter(body.marks))}")

    def _steps(self) -> Iterator[Fault]:
        """Each step of a completed task is COMPLETED, once, with all of its batches."""
        for row in self._system.sql(
            """
            SELECT task.id, step.step_name, step.status, step.batches, step.batches_done,
                (SELECT count(*) FROM task_details AS share WHERE share.task_id = task.id AND share.batch > 0
                    AND share.step_order = step.step_order AND share.status = 'COMPLETED') AS shares
            FROM tasks AS task JOIN task_details AS step ON step.task_id = task.id AND step.batch = 0
            WHERE task.status = 'COMPLETED' AND (
                step.status NOT IN ('COMPLETED', 'SKIPPED') OR coalesce(step.batches, 0) <> step.batches_done
                OR coalesce(step.batches, 0) <> (
                    SELECT count(*) FROM task_details AS share WHERE share.task_id = task.id AND share.batch > 0
                        AND share.step_order = step.step_order))
            """
        ):
            yield Fault(
                DOUBLED,
                f"task {row.id}: {row.step_name} is {row.status} with {row.batches_done} of {row.batches} batches "
                f"and {row.shares} shares",
            )

    def _artifacts(self, bucket: Mapping[str, str]) -> Iterator[Fault]:
        """Of tasks that were tidied, and of tasks that nobody knows, nothing is left."""
        kept = {key.split("/")[1] for key in bucket if key.startswith("artifacts/")}
        known = {row.id: row.tidied_at for row in self._system.sql("SELECT id, tidied_at FROM tasks")}
        for task_id in sorted(kept):
            if task_id not in known or known[task_id] is not None:
                yield Fault(DOUBLED, f"artifacts of task {task_id} are left, which is tidied or unknown")

    def _dead(self) -> Iterator[Fault]:
        count = self._stage.queues()[topology.DEAD]
        (row,) = self._system.sql("SELECT count(*) AS letters, max(reason) AS reason FROM dead_letters")
        if count or row.letters:
            yield Fault(WRONG, f"{count + row.letters} dead letters: {row.reason or 'on the queue'}")

    def _completions(self) -> Iterator[Fault]:
        """By the workers' own logs, no run of a step ended as completed twice."""
        ended: Counter[tuple[str, str, int]] = Counter()
        for log in self._stage.log_files("worker"):
            ended.update(_completed_in(log))
        for (task_id, step, batch), times in ended.items():
            if times > 1:
                yield Fault(DOUBLED, f"{step} (batch {batch}) of task {task_id} was completed {times} times")

    def _searches(self) -> Iterator[Fault]:
        """A few of the newest are found by a word that only they hold."""
        shown = [entry for entry in self._ledger.entries if entry.certain and entry.body and entry.body.marks]
        for entry in [one for one in shown if not one.free][-_SEARCHES:]:
            assert entry.body is not None
            hits = self._system.client.search(entry.body.marks[0], mode="keyword", top_k=3).hits
            if not any(documents.marks_in(hit.text).count(entry.body.marks[0]) for hit in hits):
                yield Fault(LOST, f"{entry.key}: a search for {entry.body.marks[0]} does not find it")


@dataclass(frozen=True)
class _State:
    """`documents`: the newest version of each key that is not removed. `vectors`: rows, by document."""

    documents: dict[str, Any]
    vectors: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, stage: Stage) -> _State:
        rows = stage.system.sql(
            """
            SELECT DISTINCT ON (document.id) document.id, document.object_key, document.deleted_at, version.version,
                version.etag, version.task_id, task.status, task.error_code, task.error_message,
                (SELECT (details ->> 'chunks')::int FROM task_details
                 WHERE task_id = task.id AND step_name = 'SPLIT' AND batch = 0) AS chunks,
                (SELECT max(older.version) FROM document_versions AS older JOIN tasks AS done ON done.id = older.task_id
                 WHERE older.document_id = document.id AND done.status = 'COMPLETED') AS shown
            FROM documents AS document
                JOIN document_versions AS version ON version.document_id = document.id
                JOIN tasks AS task ON task.id = version.task_id
            ORDER BY document.id, version.version DESC
            """
        )
        vectors: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in stage.vectors():
            vectors[one["document_id"]].append(one)
        return cls(
            {row.object_key: row for row in rows if row.deleted_at is None},
            dict(vectors),
        )

    def orphans(self, keys: set[str]) -> Iterator[Fault]:
        """Vectors and documents of what there is not."""
        shown = {row.id for row in self.documents.values()}
        for document_id, rows in self.vectors.items():
            if document_id not in shown:
                yield Fault(DOUBLED, f"{len(rows)} vectors of {document_id}, which is no document")
        for key in self.documents.keys() - keys:
            yield Fault(DOUBLED, f"a document of {key}, which nobody put")


def _completed_in(log: Path) -> Iterator[tuple[str, str, int]]:
    with log.open(errors="replace") as lines:
        for line in lines:
            if '"completed"' in line and line.startswith("{"):
                said = json.loads(line)
                if said.get("event") == "step.ended" and said.get("outcome") == "completed":
                    yield said["task"], said["step"], said["batch"]


def _some(counter: Counter[str]) -> str:
    first = sorted(counter)[:3]
    return ", ".join(first) + (f" and {len(counter) - 3} more" if len(counter) > 3 else "")
