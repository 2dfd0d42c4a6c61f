"""Documents at fault, through the whole chain: a code and a sentence, no second try, and the next one goes through."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.integration.system import System, wait_for
from tests.integration.test_chain import amqp_event, publish_as_minio
from tests.unit import documents

GOOD = b"The next document in line, which is a good one."


@pytest.fixture(scope="module")
def strict(system: System) -> Iterator[System]:
    """A worker with small budgets, so that tests need not wait for large ones."""
    with system.worker(
        BRIGADE_EXTRACT_SECONDS="4",
        BRIGADE_EXTRACT_CPU_SECONDS="2",
        BRIGADE_EXTRACT_MEMORY_BYTES=str(100 << 20),
        BRIGADE_MAX_INFLATED_BYTES=str(50 << 20),
        BRIGADE_MAX_DOCUMENT_BYTES=str(4 << 20),
        BRIGADE_MAX_PAGES="20",
        BRIGADE_MAX_CHARACTERS="500000",
    ):
        yield system


def truncated_pdf() -> bytes:
    whole = documents.pdf("One page with some text.", "And another one.")
    return whole[: len(whole) * 2 // 3]


BAD = {
    "empty.txt": (b"", "EMPTY_FILE"),
    "picture.png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "FILE_DAMAGED"),
    "program.pdf": (b"\x7fELF\x02\x01\x01" + bytes(1000), "UNSUPPORTED_TYPE"),
    "truncated.pdf": (truncated_pdf(), "FILE_DAMAGED"),
    "secret.pdf": (documents.pdf("Nobody may read this.", user_password="secret"), "PASSWORD_PROTECTED"),
    "scan.pdf": (documents.picture_pdf(), "NO_TEXT"),
    "endless.pdf": (documents.endless_pdf(), "EXTRACT_CPU"),
    "greedy.pdf": (documents.greedy_pdf(150 << 20), "EXTRACT_MEMORY"),
    "bomb.docx": (documents.docx_bomb(3 << 30), "INFLATES_TOO_LARGE"),
    "binary.txt": (bytes(range(256)) * 40, "BINARY_TEXT"),
    "large.txt": (b"x" * (5 << 20), "FILE_TOO_LARGE"),
    "thick.pdf": (documents.pdf(*(["A page."] * 21)), "TOO_MANY_PAGES"),
    "long.txt": (b"word " * 110_000, "TEXT_TOO_LONG"),
    "bomb.pdf": (documents.pdf_bomb(150 << 20), "EXTRACT_MEMORY"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_document_at_fault_fails_with_a_reason_and_the_next_goes_through(strict: System, name: str) -> None:
    content, code = BAD[name]
    key = f"incoming/{uuid4()}-bad/{name}"
    task = strict.ingest(key, content)
    failed = [step for step in task.task_details if step.status == "FAILED"]
    assert task.status == "FAILED"
    assert [(step.attempt, step.error_message) for step in failed] == [(1, task.error_message)]
    (row,) = strict.sql("SELECT error_code, error_message FROM tasks WHERE id = :id", id=task.task_id)
    assert row.error_code == code
    assert name in row.error_message or "this file" in row.error_message.lower()
    assert row.error_message.endswith((".", "!"))
    assert strict.ingest(f"incoming/{uuid4()}-good/good.txt", GOOD).status == "COMPLETED"


def test_an_object_deleted_before_it_is_read_ends_and_blocks_nothing(system: System) -> None:
    key = f"incoming/{uuid4()}-gone/gone.txt"
    system.put(key, GOOD)  # nobody works yet
    system.remove(key)
    with system.worker():
        assert system.ingest(f"incoming/{uuid4()}-good/good.txt", GOOD).status == "COMPLETED"
        gone = system.sql(
            """
            SELECT task.status, task.error_code FROM events_seen JOIN documents USING (object_key)
                JOIN tasks AS task ON task.document_id = documents.id WHERE object_key = :key
            """,
            key=key,
        )
        ends = {("CANCELLED", "DOCUMENT_DELETED"), ("RUNNING", None), ("COMPLETED", None)}
        assert {(row.status, row.error_code) for row in gone} <= ends
        wait_for(lambda: not system.sql("SELECT 1 FROM documents WHERE object_key = :key", key=key), "it is forgotten")


def test_an_object_deleted_without_a_word_fails_with_that_reason(worker: System) -> None:
    bucket = f"silent-{uuid4()}"  # no rule on it, so its removal is not told
    worker.services.objects.admin.create_bucket(Bucket=bucket)
    key = f"incoming/{uuid4()}/never.txt"
    publish_as_minio(worker, amqp_event(bucket, key, "e" * 32, 10, "18EA4718197B4809"))
    task = worker.ended(worker.task_of(key))
    assert task.status == "FAILED"
    assert "deleted before it was read" in task.reason
