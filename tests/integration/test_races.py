"""Two who change the same rows at once, and what comes when a removal is nearly done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from sqlalchemy import text

from common import documents, removals, uploads
from common.context import Target
from common.events import ObjectCreated
from common.principal import Principal
from common.steps import Claim, StepRef, renew
from common.uploads import Announcement
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD
from tests.integration.rig import Rig
from tests.integration.system import wait_for

ADMIN = Principal("admin", is_admin=True)
BATCHES = range(1, 9)


def announce(rig: Rig, sha256: str | None = None) -> Announcement:
    with rig.database.transaction() as connection:
        return uploads.announce(
            connection,
            DOCUMENT_UPLOAD,
            caller=ADMIN,
            bucket="b",
            filename="a.txt",
            size=3,
            content_type="text/plain",
            metadata={},
            knowledge_base_id="default",
            sha256=sha256,
            expires_seconds=60,
        )


def arrive(rig: Rig, key: str, sequencer: int = 1) -> list[StepRef]:
    event = ObjectCreated("b", key, f"{sequencer:032X}", etag="e", size=3)
    with rig.database.transaction() as connection:
        return documents.arrive(connection, event, DOCUMENT_UPLOAD, DOCUMENT_DELETE)


def delete(rig: Rig, document_id: str) -> str:
    with rig.database.transaction() as connection:
        return removals.ask(connection, document_id, DOCUMENT_DELETE, user_id="admin")[0]


def forget(rig: Rig, document_id: str) -> None:
    with rig.database.transaction() as connection:
        removals.forget(connection, document_id)


def test_what_arrives_while_its_document_is_forgotten_is_still_known_to_who_erases_it(rig: Rig) -> None:
    one = announce(rig)
    delete(rig, one.document_id)
    arrive(rig, one.key)  # a removal of its own, with the bytes that the first one did not find
    forget(rig, one.document_id)  # the first one's last act, beyond its last look
    with rig.database.transaction() as connection:
        assert removals.known_bytes(connection, one.document_id) is not None
    rig.sql("UPDATE task_details SET status = 'COMPLETED' WHERE step_name = 'ERASE'")
    forget(rig, one.document_id)
    assert rig.count("documents") == 0


def test_what_arrives_in_the_moment_its_document_is_forgotten_is_a_document(rig: Rig) -> None:
    one = announce(rig)
    delete(rig, one.document_id)
    rig.sql("UPDATE task_details SET status = 'COMPLETED' WHERE step_name = 'ERASE'")
    with ThreadPoolExecutor(1) as threads:
        with rig.database.transaction() as connection:
            removals.forget(connection, one.document_id)
            arriving = threads.submit(arrive, rig, one.key)
            wait_for(lambda: rig.count("pg_stat_activity WHERE wait_event = 'transactionid'"), "it waits")
        assert len(arriving.result(timeout=10)) == 1
    assert rig.count("documents WHERE deleted_at IS NULL") == 1


def held(rig: Rig) -> list[Claim]:
    """A worker's claims of a step's batches."""
    task_id = rig.arrive()
    rig.sql(f"""
        INSERT INTO task_details (task_id, step_order, batch, step_name, status, ready_at, owner, lease_until)
        SELECT '{task_id}', 4, batch, 'VECTORIZE', 'RUNNING', now(), '{task_id}/' || batch, now() + interval '1 minute'
        FROM generate_series({BATCHES.start}, {BATCHES.stop - 1}) AS batch
    """)
    target = Target(task_id, "d", 1, "default", "a.txt", "b", "incoming/a.txt", "e")
    return [Claim(StepRef(task_id, 4, "VECTORIZE", n), f"{task_id}/{n}", 1, target, (), "STORE") for n in BATCHES]


def test_who_writes_progress_holds_no_row_while_waiting_for_another(rig: Rig) -> None:
    """Who cancels the task wants all of its rows, in an order of their own."""
    claims = held(rig)
    with ExitStack() as running, ThreadPoolExecutor(1) as threads:
        for claim in claims:
            running.enter_context(rig.leases.hold(claim, 60)).progress(0.5)
        with rig.database.transaction() as other:
            other.execute(text("SELECT FROM task_details WHERE batch = 3 FOR UPDATE"))
            beating = threads.submit(rig.leases.beat)
            wait_for(lambda: rig.count("pg_stat_activity WHERE wait_event = 'transactionid'"), "it waits")
            other.execute(text("SELECT FROM task_details FOR UPDATE NOWAIT"))
        beating.result(timeout=10)
    assert rig.count("task_details WHERE progress = 50") == len(claims)


def test_a_lease_whose_row_is_in_other_hands_still_holds(rig: Rig) -> None:
    claims = held(rig)
    with rig.database.transaction() as other:
        other.execute(text("SELECT FROM task_details WHERE batch = 3 FOR UPDATE"))
        with rig.database.transaction() as connection:
            assert renew(connection, claims, lease_seconds=60) == {claim.owner for claim in claims}


def test_bytes_that_came_wrong_are_verified_when_they_come_again(rig: Rig) -> None:
    one = announce(rig, sha256="a" * 64)
    arrive(rig, one.key)
    rig.sql("UPDATE tasks SET status = 'FAILED', error_code = 'CHECKSUM_MISMATCH'")
    assert len(arrive(rig, one.key, 2)) == 1
    with rig.database.transaction() as connection:
        assert uploads.verify(connection, document_id=one.document_id, version=2, sha256="b" * 64) == "a" * 64
