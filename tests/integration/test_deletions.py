"""What is deleted, or processed again, while nobody works, and when somebody does again."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from deploy.local.servers import LocalServers
from tests.integration.people import person, upload
from tests.integration.system import System, wait_for
from tests.integration.test_documents import WORDS, delete, error, keys

pytestmark = pytest.mark.integration


def test_processing_again_makes_a_version_and_the_old_one_shows_until_it_is_complete(worker: System) -> None:
    with person(worker) as one:
        document = upload(worker, one.http, "a.txt", WORDS)

        def versions() -> set[int]:
            found = one.http.post("/v1/search", json={"query": "water", "document_ids": [document]})
            return {hit["version"] for hit in found.json()["hits"]}

        with worker.nobody_works():
            again = one.http.post(f"/v1/documents/{document}/reprocess")
            twice = one.http.post(f"/v1/documents/{document}/reprocess")
            assert (again.status_code, twice.status_code) == (202, 202)
            assert versions() == {1}
            told = one.get(f"/documents/{document}")
            assert (told["version"], told["shown_version"], told["task_id"]) == (3, 1, twice.json()["task_id"])
            assert worker.client.task(again.json()["task_id"]).status == "CANCELLED"
        assert worker.ended(twice.json()["task_id"]).status == "COMPLETED"
        assert versions() == {3}


def test_asked_twice_a_deletion_is_one_and_after_a_failure_another(worker: System) -> None:
    with person(worker) as one:
        document = upload(worker, one.http, "a.txt", WORDS)
        with worker.nobody_works():
            first = delete(one, document).json()["task_id"]
            assert delete(one, document).json() == {"task_id": first}
            worker.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE id = :id RETURNING 1", id=first)
            second = delete(one, document)
            assert second.status_code == 202
            assert second.json()["task_id"] != first
            with person(worker) as other:
                assert error(delete(other, document)) == (403, "FORBIDDEN")
        assert worker.ended(second.json()["task_id"]).status == "COMPLETED"
        assert error(delete(one, document)) == (404, "NOT_FOUND")
        assert error(delete(one, str(uuid4()))) == (404, "NOT_FOUND")


def test_a_document_that_is_made_anew_under_the_key_keeps_its_bytes(worker: System) -> None:
    key = f"incoming/{uuid4()}-drop/a.txt"
    document = worker.ingest(key, b"The old words.").document_id
    with worker.nobody_works():
        answer = worker.http.delete(f"/v1/documents/{document}")
        worker.put(key, b"The new words.")
    assert worker.ended(answer.json()["task_id"]).status == "COMPLETED"
    new = worker.ended(wait_for(lambda: worker.tasks_of(key), "the new document")[0])
    assert (new.status, new.document_id != document) == ("COMPLETED", True)
    assert worker.rows_of(str(document)) == []
    url = worker.http.get(f"/v1/documents/{new.document_id}/download").json()["download_url"]
    assert httpx.get(url).content == b"The new words."


def test_an_upload_that_arrives_while_it_is_being_deleted_is_deleted_too(worker: System) -> None:
    with person(worker) as one:
        ticket = one.http.post("/v1/uploads", json={"filename": "late.txt", "size": len(WORDS)}).json()
        with worker.nobody_works():
            first = delete(one, ticket["document_id"]).json()["task_id"]
            assert httpx.put(ticket["url"], content=WORDS, headers=ticket["headers"]).status_code == 200
        worker.ended(first)
        wait_for(lambda: not keys(worker, f"incoming/{ticket['document_id']}/"), "its bytes are gone")
        wait_for(lambda: not worker.sql("SELECT 1 FROM documents WHERE user_id = :id", id=one.id), "and so is all else")


def test_a_deletion_waits_for_milvus_and_ends_when_it_is_back(worker: System, servers: LocalServers) -> None:
    with person(worker) as one:
        document = upload(worker, one.http, "a.txt", WORDS)
        servers.milvus.kill()
        try:
            task = delete(one, document).json()["task_id"]

            def waits() -> bool:
                step = worker.client.task(task).task_details[-1]
                return step.status == "PENDING" and "Milvus" in (step.error_message or "")

            wait_for(waits, "the step waits for Milvus")
            assert worker.sql("SELECT 1 FROM documents WHERE id = :id", id=document)
        finally:
            servers.milvus.start()
        assert worker.ended(task).status == "COMPLETED"
        assert worker.rows_of(document) == []
