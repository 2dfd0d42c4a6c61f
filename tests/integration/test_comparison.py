"""What a comparison of Postgres, store and Milvus finds, and what its repair does: over real ones, without workers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import msgspec
import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from common import documents, removals
from common.comparison import differences
from common.comparison.findings import Finding, Kind, Report
from common.context import Target
from common.events import ObjectCreated, sequencer_at
from common.index import Row
from common.records import Chunk, EmbeddedChunk
from common.services import Services
from common.settings import Settings
from common.telemetry import AUDIT_FINDINGS
from deploy.cli import app
from functions.schedule.compare import audit, compare
from functions.schedule.tidy import cut
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD, PIPELINES
from tests.tiny_model import manifest

pytestmark = pytest.mark.integration

DIMENSION = 4


class House:
    """Documents as the chain leaves them, made by hand."""

    def __init__(self, settings: Settings) -> None:
        self.services = Services(settings)
        self.bucket = settings.bucket
        self.services.index.ensure()

    def put(self, key: str, body: bytes = b"words") -> str:
        self.services.objects.put_stream(key, io.BytesIO(body), len(body))
        found = self.services.objects.look(self.bucket, key)
        assert found is not None
        return found.etag

    def arrive(self, key: str | None = None, body: bytes = b"words") -> Target:
        """A document whose task runs, and none of whose steps has begun."""
        key = key or f"incoming/{uuid4()}-drop/a.txt"
        event = ObjectCreated(self.bucket, key, sequencer_at(self.clock()), etag=self.put(key, body), size=len(body))
        with self.services.database.transaction() as connection:
            (ready,) = documents.arrive(connection, event, DOCUMENT_UPLOAD, DOCUMENT_DELETE)
        ((document, version),) = self.sql("SELECT document_id, version FROM tasks WHERE id = :id", id=ready.task_id)
        return Target(ready.task_id, document, version, "default", "a.txt", self.bucket, key, event.etag)

    def clock(self) -> datetime:
        ((now,),) = self.sql("SELECT clock_timestamp()")
        return cast("datetime", now)

    def complete(self, target: Target, chunks: int = 3) -> Target:
        """It shows: with a large artifact of each step, and its vectors."""
        for name in ("EXTRACT_TEXT", "PREPROCESS", "SPLIT", "VECTORIZE"):
            self.put(key := f"artifacts/{target.task_id}/{name}/0.jsonl")
            self.sql(
                "UPDATE task_details SET output_key = :key WHERE task_id = :id AND step_name = :name RETURNING 1",
                key=key,
                id=target.task_id,
                name=name,
            )
        self.put(f"artifacts/{target.task_id}/pin")
        self.vectors(target.document_id, target.version, range(chunks))
        self.sql(
            """
            WITH task AS (UPDATE tasks SET status = 'COMPLETED', completed_at = clock_timestamp() WHERE id = :id)
            UPDATE task_details SET status = 'COMPLETED',
                details = CASE WHEN step_name = 'STORE' THEN jsonb_build_object('vectors', :chunks ::int) ELSE '{}' END
            WHERE task_id = :id RETURNING 1
            """,
            id=target.task_id,
            chunks=chunks,
        )
        return target

    def document(self, chunks: int = 3) -> Target:
        return self.complete(self.arrive(), chunks)

    def vectors(self, document: str, version: int, numbers: Any) -> None:
        vector = np.ones(DIMENSION, dtype="<f4").tobytes()
        self.services.index.upsert(
            Row(document, version, "default", EmbeddedChunk(Chunk(number, 1, 0, 1, "w"), vector)) for number in numbers
        )

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.services.database.transaction() as connection:
            return list(connection.execute(text(statement), values).all())

    def compare(self, *, repair: bool = False) -> Report:
        return compare(self.services, PIPELINES, repair=list(Kind) if repair else [])

    def found(self, *, repair: bool = False) -> dict[str, Finding]:
        return {finding.kind.value: finding for finding in self.compare(repair=repair).findings}

    def only(self, kind: Kind, *, repair: bool = False) -> Finding:
        """The one finding, which is of this kind."""
        found = self.found(repair=repair)
        assert list(found) == [kind]
        return found[kind]

    def ids(self, target: Target) -> list[str]:
        return sorted(self.services.index.ids(target.document_id))


@pytest.fixture
def house(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Nothing has any grace here, so that what is said does not wait for the clock. The model is only a manifest."""
    manifest(DIMENSION).write(tmp_path)
    monkeypatch.setenv("BRIGADE_MODEL_DIR", str(tmp_path))
    now = {"audit_grace_seconds": 0, "audit_settle_seconds": 0, "model_dir": tmp_path}
    house = House(settings.model_copy(update=now))
    with closing(house.services):
        yield house


def test_what_is_as_it_should_be_is_no_finding(house: House) -> None:
    house.document()
    overwritten = house.document()
    house.vectors(overwritten.document_id, 2, range(2))  # STORE is at work for the newer version
    house.arrive(overwritten.key, b"other words")
    failed = house.arrive()
    house.vectors(failed.document_id, 1, range(2))
    house.put(f"artifacts/{failed.task_id}/pin")
    house.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE id = :id RETURNING 1", id=failed.task_id)
    report = house.compare()
    assert report.findings == []
    assert report.clean
    assert report.compared == {"documents": 3, "objects": 3, "artifacts": 11, "vectors": 10}


def test_missing_vectors_are_made_again_by_a_new_version(house: House) -> None:
    whole, torn = house.document(), house.document()
    house.services.index.delete_chunks(torn.document_id, 1, beyond=1)
    finding = house.only(Kind.MISSING_VECTORS)
    assert (finding.count, finding.items, finding.repaired) == (1, 2, 0)
    assert finding.examples == [f"document {torn.document_id} version 1: 1 of 3 vectors"]
    assert house.only(Kind.MISSING_VECTORS, repair=True).left == 0
    ((version, status),) = house.sql(
        "SELECT version, status FROM tasks WHERE document_id = :id AND version > 1", id=torn.document_id
    )
    assert (version, status) == (2, "RUNNING")
    assert house.compare(repair=True).findings == [], "what is being made again is not asked for twice"
    assert len(house.ids(whole)) == 3


def test_a_version_that_has_lost_all_its_vectors_is_missed_as_well(house: House) -> None:
    torn = house.document()
    house.services.index.delete_document(torn.document_id)
    assert house.only(Kind.MISSING_VECTORS).examples == [f"document {torn.document_id} version 1: 0 of 3 vectors"]


def test_vectors_beyond_the_last_chunk_are_deleted(house: House) -> None:
    target = house.document()
    house.vectors(target.document_id, 1, [3, 12])
    finding = house.only(Kind.SURPLUS_VECTORS, repair=True)
    assert (finding.count, finding.items, finding.left) == (1, 2, 0)
    assert house.ids(target) == [f"{target.document_id}:1:{number}" for number in range(3)]
    assert house.compare().clean


def test_surplus_does_not_hide_what_is_missing(house: House) -> None:
    target = house.document()
    house.services.index.delete_chunks(target.document_id, 1, beyond=2)
    house.vectors(target.document_id, 1, [7])
    assert set(house.found()) == {Kind.MISSING_VECTORS, Kind.SURPLUS_VECTORS}


def test_orphan_vectors_are_deleted_and_nobody_elses(house: House) -> None:
    shown, running = house.document(), house.arrive()
    house.vectors(running.document_id, 1, [0])
    replaced = house.document()
    house.complete(house.arrive(replaced.key, b"other words"))
    house.sql("UPDATE tasks SET tidied_at = now() WHERE id = :id RETURNING 1", id=replaced.task_id)
    house.services.objects.delete_prefix(f"artifacts/{replaced.task_id}/")
    house.vectors("nobody", 1, range(4))
    house.vectors(shown.document_id, 9, [0])
    finding = house.only(Kind.ORPHAN_VECTORS)
    assert (finding.count, finding.items) == (3, 8)
    assert house.only(Kind.ORPHAN_VECTORS, repair=True).left == 0
    assert house.ids(replaced) == [f"{replaced.document_id}:2:{number}" for number in range(3)]
    assert (len(house.ids(shown)), len(house.ids(running))) == (3, 1)
    assert house.compare().clean


def test_what_a_task_has_begun_to_need_meanwhile_is_not_deleted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives after it was suspected, in the last moment before the deletion."""
    target = house.document()
    house.vectors(target.document_id, 2, [0])
    asked = differences.suspected_orphans

    def then_arrives(*args: Any, **options: Any) -> Iterator[Any]:
        pages = list(asked(*args, **options))
        assert pages == [[(target.document_id, 2)]]
        house.arrive(target.key, b"other words")
        yield from pages

    monkeypatch.setattr(differences, "suspected_orphans", then_arrives)
    assert house.compare(repair=True).findings == []
    assert f"{target.document_id}:2:0" in house.ids(target)


def test_artifacts_that_nobody_needs_are_deleted_and_no_others(house: House) -> None:
    shown, replaced, trimmed = house.document(), house.document(), house.document()
    newer = house.complete(house.arrive(replaced.key, b"other words"))
    house.sql("UPDATE tasks SET tidied_at = now() WHERE id = :id RETURNING 1", id=replaced.task_id)
    house.services.index.delete_versions(replaced.document_id, [1])
    cut(Services(house.services.settings.model_copy(update={"trim_seconds": 0})), trimmed.task_id)
    house.put(f"artifacts/{trimmed.task_id}/VECTORIZE/3.jsonl")
    house.put("artifacts/nobody/SPLIT/0.jsonl")
    finding = house.only(Kind.STRAY_ARTIFACTS)
    assert (finding.count, finding.items) == (3, 1 + 5 + 1)
    assert house.only(Kind.STRAY_ARTIFACTS, repair=True).left == 0
    left = [one.key for one in house.services.objects.listed(house.bucket, "artifacts/")]
    assert sum(shown.task_id in key for key in left) == sum(newer.task_id in key for key in left) == 5
    names = sorted(Path(key).parent.name for key in left if trimmed.task_id in key)
    assert names == ["EXTRACT_TEXT", "PREPROCESS", "SPLIT"]
    assert len(left) == 13
    assert house.compare().clean


def test_artifacts_that_are_read_or_gone_on_from_are_missed(house: House) -> None:
    shown, running = house.document(), house.arrive()
    for name in ("SPLIT", "VECTORIZE"):
        house.services.objects.delete_prefix(f"artifacts/{shown.task_id}/{name}/")
    house.sql(
        "UPDATE task_details SET output_key = 'artifacts/x/EXTRACT_TEXT/0.jsonl' "
        "WHERE task_id = :id AND step_name = 'EXTRACT_TEXT' RETURNING 1",
        id=running.task_id,
    )
    finding = house.only(Kind.MISSING_ARTIFACTS)
    assert sorted(finding.examples) == sorted(
        [
            f"document {shown.document_id}: SPLIT of task {shown.task_id}",
            f"document {running.document_id}: EXTRACT_TEXT of task {running.task_id}",
        ]
    )
    assert house.only(Kind.MISSING_ARTIFACTS, repair=True).left == 0
    assert house.compare().clean


def test_a_document_whose_object_is_gone_is_removed_as_if_that_had_been_told(house: House) -> None:
    there, gone = house.document(), house.document()
    house.services.objects.admin.delete_object(Bucket=house.bucket, Key=gone.key)
    assert house.only(Kind.MISSING_OBJECTS).examples == [f"document {gone.document_id}: {house.bucket}/{gone.key}"]
    assert house.only(Kind.MISSING_OBJECTS, repair=True).left == 0
    alive = house.sql("SELECT id FROM documents WHERE deleted_at IS NULL")
    assert [row.id for row in alive] == [there.document_id]
    assert house.sql("SELECT status FROM tasks WHERE type = 'DOCUMENT_DELETE'") == [("RUNNING",)]
    assert house.compare().clean


def test_when_most_objects_are_gone_nothing_is_removed(house: House) -> None:
    """Another store's address, or an empty bucket under the old name, must not end all documents."""
    for _ in range(12):
        house.arrive()
    house.services.objects.delete_prefix("incoming/")
    finding = house.only(Kind.MISSING_OBJECTS, repair=True)
    assert (finding.count, finding.repaired) == (12, 0)
    assert finding.not_repaired is not None
    assert "right store" in finding.not_repaired or "the store that" in finding.not_repaired
    assert house.sql("SELECT 1 FROM tasks WHERE type = 'DOCUMENT_DELETE'") == []


def test_tasks_that_were_not_cleared_up_in_time_are_so_at_once(house: House) -> None:
    cancelled, shown = house.arrive(), house.document()
    house.vectors(cancelled.document_id, 1, [0])
    house.put(f"artifacts/{cancelled.task_id}/pin")
    house.sql(
        "UPDATE tasks SET status = 'CANCELLED', completed_at = now() WHERE id = :id RETURNING 1", id=cancelled.task_id
    )
    house.sql(
        "UPDATE tasks SET completed_at = completed_at - interval '1 hour' WHERE completed_at IS NOT NULL RETURNING 1"
    )
    assert house.only(Kind.UNTIDY_TASKS).count == 2
    assert house.only(Kind.UNTIDY_TASKS, repair=True).left == 0
    assert (house.ids(cancelled), len(house.ids(shown))) == ([], 3)
    assert len(list(house.services.objects.listed(house.bucket, "artifacts/"))) == 3
    assert house.compare().clean


def test_a_removal_that_failed_is_begun_again(house: House) -> None:
    target = house.document()
    house.services.objects.admin.delete_object(Bucket=house.bucket, Key=target.key)
    house.compare(repair=True)
    house.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE type = 'DOCUMENT_DELETE' RETURNING 1")
    assert house.only(Kind.UNFINISHED_REMOVALS).count == 1
    assert house.only(Kind.UNFINISHED_REMOVALS, repair=True).left == 0
    assert len(house.sql("SELECT 1 FROM tasks WHERE type = 'DOCUMENT_DELETE' AND status = 'RUNNING'")) == 1
    assert house.compare().clean


def test_a_removal_that_a_person_asks_for_meanwhile_is_left_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = house.document()
    house.services.objects.admin.delete_object(Bucket=house.bucket, Key=target.key)
    house.compare(repair=True)
    house.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE type = 'DOCUMENT_DELETE' RETURNING 1")
    suspected = differences.suspected_removals

    def meanwhile(*arguments: Any, **options: Any) -> Iterator[list[str]]:
        for page in suspected(*arguments, **options):
            with house.services.database.transaction() as connection:
                removals.ask(connection, target.document_id, DOCUMENT_DELETE, user_id="admin")
            yield page

    monkeypatch.setattr(differences, "suspected_removals", meanwhile)
    assert house.compare(repair=True).findings == []
    assert house.sql("SELECT count(*) FROM tasks WHERE type = 'DOCUMENT_DELETE' AND status = 'RUNNING'") == [(1,)]
    assert house.sql("SELECT 1 FROM task_details WHERE step_name = 'ERASE' AND status = 'PENDING'") == [(1,)]


def test_what_shows_is_not_mended_by_other_bytes_that_have_failed(house: House) -> None:
    torn = house.document()
    house.services.index.delete_chunks(torn.document_id, 1, beyond=1)
    newer = house.arrive(torn.key, b"other words")
    house.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE id = :id RETURNING 1", id=newer.task_id)
    finding = house.found(repair=True)[Kind.MISSING_VECTORS]
    assert (finding.count, finding.repaired) == (1, 0)
    assert house.sql("SELECT max(version) FROM tasks") == [(2,)]


def test_what_ended_a_moment_ago_is_left_to_who_works_on_it(house: House) -> None:
    replaced = house.document()
    house.complete(house.arrive(replaced.key, b"other words"))
    house.sql("UPDATE tasks SET tidied_at = now() WHERE id = :id RETURNING 1", id=replaced.task_id)
    with_grace = house.services.settings.model_copy(update={"audit_grace_seconds": 600})
    with closing(Services(with_grace)) as services:
        assert compare(services, PIPELINES).findings == []
    assert set(house.found()) == {Kind.ORPHAN_VECTORS, Kind.STRAY_ARTIFACTS}


def test_by_itself_the_scheduler_repairs_only_what_nobody_can_miss_and_once_in_its_time(house: House) -> None:
    torn = house.document()
    house.services.index.delete_chunks(torn.document_id, 1, beyond=1)
    house.vectors("nobody", 1, [0])
    audit(house.services, PIPELINES)
    assert house.services.index.ids("nobody") == []
    assert house.sql("SELECT 1 FROM tasks WHERE version > 1") == []
    values = {kind: AUDIT_FINDINGS.labels(kind)._value.get() for kind in Kind}
    assert {kind for kind, value in values.items() if value} == {Kind.MISSING_VECTORS}
    house.vectors("nobody", 1, [0])
    audit(house.services, PIPELINES)
    assert len(house.services.index.ids("nobody")) == 1, "it is not due again"


def test_the_command_says_what_is_wrong_and_what_a_repair_would_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGADE_AUDIT_GRACE_SECONDS", "0")
    monkeypatch.setenv("BRIGADE_AUDIT_SETTLE_SECONDS", "0")
    house.document()
    house.vectors("nobody", 1, range(4))
    told = CliRunner().invoke(app, ["audit"])
    assert told.exit_code == 1
    for words in ("orphan_vectors", "1 versions", "4 vectors", "document nobody version 1", "--repair deletes"):
        assert words in told.stdout
    told = CliRunner().invoke(app, ["audit", "--repair", "--json"])
    assert told.exit_code == 0
    report = msgspec.json.decode(told.stdout)
    assert (report["clean"], report["findings"][0]["repaired"]) == (True, 1)
    told = CliRunner().invoke(app, ["audit"])
    assert (told.exit_code, "Nothing is wrong." in told.stderr) == (0, True)
