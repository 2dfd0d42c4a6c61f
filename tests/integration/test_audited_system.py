"""The whole system compared with itself: while it works, after a repair, and when only what is read is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import httpx
import pytest

from common.comparison import findings
from common.comparison.findings import Kind
from common.services import Services
from functions.schedule.compare import compare
from functions.schedule.tidy import trim
from router.table import PIPELINES
from tests.integration.people import person, upload
from tests.integration.system import System, wait_for

pytestmark = pytest.mark.integration

WORDS = "\n\n".join(f"Paragraph {number} tells of water, 第{number}段讲的是水。" for number in range(12)).encode()


@pytest.fixture(scope="module")
def worker(system: System) -> Iterator[System]:
    """A worker that leaves its artifacts in the store, however small they are."""
    with system.worker(BRIGADE_INLINE_ARTIFACT_BYTES="1"):
        yield system


@pytest.fixture
def impatient(worker: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Completed tasks are trimmed at once, and a comparison names all that it finds: others use the system too."""
    monkeypatch.setattr(findings, "_EXAMPLES", 1_000_000)
    with closing(Services(worker.settings.model_copy(update={"trim_seconds": 0}))) as one:
        yield one


def found(services: Services, documents: list[str], *, repair: bool = False) -> list[str]:
    """What a comparison says of these documents."""
    report = compare(services, PIPELINES, repair=list(Kind) if repair else [])
    said = [example for finding in report.findings for example in finding.examples]
    return [example for example in said if any(document in example for document in documents)]


def test_when_it_is_trimmed_a_document_is_still_read_found_downloaded_and_processed_again(
    worker: System, impatient: Services
) -> None:
    with person(worker) as one:
        document = upload(worker, one.http, "a.txt", WORDS)
        task = one.get(f"/documents/{document}")["task_id"]

        def read() -> list[Any]:
            query = {"query": "paragraph 7", "document_ids": [document]}
            passages = one.http.post("/v1/search", json=query).json()["hits"]
            texts = [
                one.get(f"/documents/{document}/{what}")
                for what in ("text", "text?clean=1", "chunks", "chunks?page=1&limit=3")
            ]
            download = one.get(f"/documents/{document}/download")["download_url"]
            return [passages, texts, httpx.get(download).content]

        def keys() -> set[str]:
            return {key.key.split("/")[2] for key in worker.services.objects.listed(bucket, f"artifacts/{task}/")}

        bucket = worker.settings.bucket
        before = read()
        assert before[2] == WORDS
        assert keys() == {"pin", "VALIDATE", "EXTRACT_TEXT", "PREPROCESS", "SPLIT", "VECTORIZE"}
        trim(impatient)
        wait_for(
            lambda: worker.sql("SELECT 1 FROM tasks WHERE id = :id AND trimmed_at IS NOT NULL", id=task), "trimmed"
        )
        assert keys() == {"EXTRACT_TEXT", "PREPROCESS", "SPLIT"}
        assert read() == before
        assert found(impatient, [document, task]) == []
        again = one.http.post(f"/v1/documents/{document}/reprocess").json()["task_id"]
        assert worker.ended(again).status == "COMPLETED"
        assert [hit["text"] for hit in read()[0]] == [hit["text"] for hit in before[0]]


def test_a_repair_makes_search_right_again(worker: System, impatient: Services) -> None:
    with person(worker) as one:
        document = upload(worker, one.http, "a.txt", b"Water flows downhill.")
        worker.services.index.delete_document(document)
        assert worker.found("water", document) == []
        (said,) = found(impatient, [document], repair=True)
        assert said == f"document {document} version 1: 0 of 1 vectors"
        hits = wait_for(lambda: worker.found("water", document), "it is found again")
        assert [hit.version for hit in hits] == [2]
        assert found(impatient, [document]) == []


def test_nothing_is_found_while_documents_come_change_and_go(worker: System, impatient: Services) -> None:
    keys = [f"incoming/{uuid4()}-drop/{number}.txt" for number in range(12)]
    for key in keys:
        worker.put(key, f"Water, {key}.".encode() * 20)
    tasks = [worker.task_of(key) for key in keys]
    documents = [str(row.id) for row in worker.sql("SELECT id FROM documents WHERE object_key = ANY(:keys)", keys=keys)]
    assert found(impatient, documents + tasks) == []
    for key in keys[:8]:
        worker.put(key, f"Fire, {key}.".encode() * 20)
    assert found(impatient, documents + tasks) == []
    for key in keys[4:]:
        worker.remove(key)
    assert found(impatient, documents + tasks) == []
    newer = [worker.task_of(key, 1) for key in keys[:4]]
    assert {worker.ended(task).status for task in newer} == {"COMPLETED"}
    wait_for(lambda: not worker.sql("SELECT 1 FROM documents WHERE object_key = ANY(:keys)", keys=keys[4:]), "removed")
    assert found(impatient, documents + tasks + newer) == []
