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


def test_processing_again_makes_a_version_and_the_old_one_shows_until_it_is_complete(
    system: System,
) -> None:
    with person(system) as one:
        with system.worker():
            document = upload(system, one.http, "a.txt", WORDS)
        again = one.http.post(f"/v1/documents/{document}/reprocess")
        twice = one.http.post(f"/v1/documents/{document}/reprocess")
        assert (again.status_code, twice.status_code) == (202, 202)

        def versions() -> set[int]:
            found = one.http.post("/v1/search", json={"query": "water", "document_ids": [document]})
            return {hit["version"] for hit in found.json()["hits"]}

        assert versions() == {1}
        told = one.get(f"/documents/{document}")
        assert (told["version"], told["shown_version"], told["task_id"]) == (3, 1, twice.json()["task_id"])
        assert system.client.task(again.json()["task_id"]).status == "CANCELLED"
        with system.worker():
            assert system.ended(twice.json()["task_id"]).status == "COMPLETED"
            assert versions() == {3}


def test_asked_twice_a_deletion_is_one_and_after_a_failure_another(system: System) -> None:
    with person(system) as one:
        with system.worker():
            document = upload(system, one.http, "a.txt", WORDS)
        first = delete(one, document).json()["task_id"]
        assert delete(one, document).json() == {"task_id": first}
        system.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE id = :id RETURNING 1", id=first)
        second = delete(one, document)
        assert second.status_code == 202
        assert second.json()["task_id"] != first
        with person(system) as other:
            assert error(delete(other, document)) == (403, "FORBIDDEN")
        with system.worker():
            assert system.ended(second.json()["task_id"]).status == "COMPLETED"
        assert error(delete(one, document)) == (404, "NOT_FOUND")
        assert error(delete(one, str(uuid4()))) == (404, "NOT_FOUND")


def test_a_document_that_is_made_anew_under_the_key_keeps_its_bytes(system: System) -> None:
    key = f"incoming/{uuid4()}-drop/a.txt"
    with system.worker():
        document = system.ingest(key, b"The old words.").document_id
    answer = system.http.delete(f"/v1/documents/{document}")
    system.put(key, b"The new words.")
    with system.worker():
        assert system.ended(answer.json()["task_id"]).status == "COMPLETED"
        new = system.ended(wait_for(lambda: system.tasks_of(key), "the new document")[0])
        assert (new.status, new.document_id != document) == ("COMPLETED", True)
        assert system.rows_of(str(document)) == []
        url = system.http.get(f"/v1/documents/{new.document_id}/download").json()["download_url"]
        assert httpx.get(url).content == b"The new words."


def test_an_upload_that_arrives_while_it_is_being_deleted_is_deleted_too(system: System) -> None:
    with person(system) as one:
        ticket = one.http.post("/v1/uploads", json={"filename": "late.txt", "size": len(WORDS)}).json()
        first = delete(one, ticket["document_id"]).json()["task_id"]
        assert httpx.put(ticket["url"], content=WORDS, headers=ticket["headers"]).status_code == 200
        with system.worker():
            system.ended(first)
            wait_for(lambda: not keys(system, f"incoming/{ticket['document_id']}/"), "its bytes are gone")
            wait_for(
                lambda: not system.sql("SELECT 1 FROM documents WHERE user_id = :id", id=one.id), "and so is all else"
            )


def test_a_deletion_waits_for_milvus_and_ends_when_it_is_back(system: System, servers: LocalServers) -> None:
    with person(system) as one, system.worker():
        document = upload(system, one.http, "a.txt", WORDS)
        servers.milvus.kill()
        try:
            task = delete(one, document).json()["task_id"]

            def waits() -> bool:
                step = system.client.task(task).task_details[-1]
                return step.status == "PENDING" and "Milvus" in (step.error_message or "")

            wait_for(waits, "the step waits for Milvus")
            assert system.sql("SELECT 1 FROM documents WHERE id = :id", id=document)
        finally:
            servers.milvus.start()
        assert system.ended(task).status == "COMPLETED"
        assert system.rows_of(document) == []
