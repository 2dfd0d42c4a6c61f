"""Uploads from the outside, through everything: what a browser that closes its tab, or a careless client, gets."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import httpx
import pytest

from tests.integration.system import System, wait_for
from tests.unit import documents

pytestmark = pytest.mark.integration

MIB = 1 << 20


def large_document(seed: int) -> bytes:
    """A Word document of 12 MiB with one sentence in it."""
    noise = random.Random(seed).randbytes(12 * MIB)
    return documents.docx(f"The heavy whale number {seed} swims.", members={"word/media/noise.bin": noise})


def announce(system: System, content: bytes, name: str, **told: Any) -> httpx.Response:
    body = {"filename": name, "size": len(content), **told}
    return system.http.post("/v1/uploads", json=body)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def send(content: bytes, part_size: int, parts: list[dict[str, Any]]) -> None:
    for part in parts:
        start = (part["number"] - 1) * part_size
        answer = httpx.put(part["url"], content=content[start : start + part_size])
        assert answer.status_code == 200, answer.text


def test_a_multipart_upload_goes_on_after_its_tab_was_closed(worker: System) -> None:
    content = large_document(1)
    told: dict[str, Any] = {"sha256": sha256(content), "method": "multipart"}
    first = announce(worker, content, "whale.docx", **told)
    ticket = first.json()
    assert (first.status_code, ticket["method"], ticket["part_size"]) == (201, "MULTIPART", 5 * MIB)
    assert [part["number"] for part in ticket["parts"]] == [1, 2, 3]
    send(content, 5 * MIB, ticket["parts"][:1])

    # Another tab, which remembers nothing.
    again = announce(worker, content, "whale.docx", **told)
    resumed = again.json()
    assert (again.status_code, resumed["resumed"]) == (200, True)
    assert resumed["document_id"] == ticket["document_id"]
    assert [part["number"] for part in resumed["parts"]] == [2, 3]
    url = f"/v1/uploads/{ticket['document_id']}"
    listed = worker.http.get(f"{url}/parts").json()
    assert ([part["number"] for part in listed["parts"]], listed["missing"]) == ([1], [2, 3])
    early = worker.http.post(f"{url}/complete")
    assert (early.status_code, early.json()["error"]["details"]["missing"]) == (409, [2, 3])

    signed = worker.http.post(f"{url}/parts", json={"numbers": [3, 2]}).json()
    send(content, 5 * MIB, signed["parts"])
    ends = [worker.http.post(f"{url}/complete", json={}) for _ in range(2)]
    assert [end.status_code for end in ends] == [200, 200]
    assert ends[0].json() == ends[1].json()
    task = worker.ended(ticket["task_id"])
    assert (task.status, task.reason) == ("COMPLETED", "completed")
    assert worker.http.post(f"{url}/complete").json() == ends[0].json()
    assert worker.http.get(f"{url}/parts").json()["completed"] is True
    assert worker.http.delete(url).status_code == 409
    assert worker.found("heavy whale", ticket["document_id"])

    # The same bytes again.
    same = announce(worker, content, "copy.docx", sha256=told["sha256"])
    assert same.status_code == 200
    assert same.json() == {
        "document_id": ticket["document_id"],
        "task_id": ticket["task_id"],
        "key": ticket["key"],
        "duplicate": True,
        "name": "whale.docx",
        "version": 1,
    }
    assert announce(worker, content, "copy.docx", sha256=told["sha256"], allow_duplicate=True).status_code == 201
    assert announce(worker, content + b"1", "copy.docx", sha256=told["sha256"]).status_code == 201


def put(ticket: dict[str, Any], content: bytes) -> None:
    answer = httpx.request(ticket["method"], ticket["url"], content=content, headers=ticket["headers"])
    assert answer.status_code == 200, answer.text


def test_other_bytes_than_were_announced_fail_their_task_and_are_no_duplicate_of_anything(worker: System) -> None:
    announced = sha256(b"What was meant.")
    ticket = announce(worker, b"What arrived...", "meant.txt", sha256=announced).json()
    put(ticket, b"What arrived...")
    task = worker.ended(ticket["task_id"])
    (row,) = worker.sql("SELECT error_code FROM tasks WHERE id = :id", id=ticket["task_id"])
    assert (task.status, row.error_code) == ("FAILED", "CHECKSUM_MISMATCH")
    assert announced in task.reason
    assert sha256(b"What arrived...") in task.reason
    assert announce(worker, b"What was meant.", "meant.txt", sha256=announced).status_code == 201


def test_a_document_that_nobody_gave_a_checksum_is_recognised_too(worker: System) -> None:
    content = b"A sentence about recognised badgers."
    dropped = worker.ingest("incoming/badgers.txt", content)
    told = announce(worker, content, "again.txt", sha256=sha256(content)).json()
    assert (told["duplicate"], told["document_id"]) == (True, dropped.document_id)


def test_a_form_takes_the_same_bytes(worker: System) -> None:
    content = b"A form about patient otters."
    ticket = announce(worker, content, "otters.txt", method="post", content_type="text/plain").json()
    assert ticket["method"] == "POST"
    answer = httpx.post(ticket["url"], data=ticket["fields"], files={"file": ("otters.txt", content, "text/plain")})
    assert answer.status_code == 204, answer.text
    assert worker.ended(ticket["task_id"]).status == "COMPLETED"


def test_what_never_came_expires_and_when_it_comes_after_all_it_is_a_new_version(worker: System) -> None:
    content = b"A late sentence about hedgehogs."
    ticket = announce(worker, content, "late.txt", sha256=sha256(b"another one")).json()
    worker.sql("UPDATE document_versions SET expires_at = now() WHERE task_id = :id RETURNING 1", id=ticket["task_id"])
    task = worker.ended(ticket["task_id"])
    assert (task.status, [step.status for step in task.task_details][:2]) == ("FAILED", ["FAILED", "PENDING"])
    assert "never came" in task.reason

    put(ticket, content)
    late = worker.ended(worker.task_of(ticket["key"], 1))
    assert late.document_id == ticket["document_id"]
    assert "SHA-256" in late.reason, "what was announced is still verified"


def test_a_thousand_are_announced_at_once(system: System) -> None:
    files = [
        {"filename": f"文档 {number}.txt", "size": number, "metadata": {"n": "x" * 2000}} for number in range(1000)
    ]
    answer = system.http.post("/v1/uploads/batch", json={"files": files})
    assert answer.status_code == 201
    items = answer.json()["items"]
    assert [item["key"].rsplit("/")[-1] for item in items] == [file["filename"] for file in files]
    (row,) = system.sql(
        """
        SELECT count(*), count(DISTINCT document.id) AS documents FROM task_details AS step
            JOIN tasks AS task ON task.id = step.task_id JOIN documents AS document ON document.id = task.document_id
        WHERE task.status = 'PENDING' AND document.id = ANY(:ids)
        """,
        ids=[item["document_id"] for item in items],
    )
    assert (row.count, row.documents) == (7000, 1000)

    refused = system.http.post("/v1/uploads/batch", json={"files": [*files[:5], {"filename": "..", "size": 1}]})
    assert (refused.status_code, refused.json()["error"]["details"]) == (400, {"index": 5})


def test_an_aborted_upload_stays_so_though_its_file_comes(worker: System) -> None:
    content = b"Nobody wants this."
    ticket = announce(worker, content, "unwanted.txt").json()
    url = f"/v1/uploads/{ticket['document_id']}"
    ends = [worker.http.delete(url) for _ in range(2)]
    assert [end.status_code for end in ends] == [200, 200]
    assert worker.ended(ticket["task_id"]).status == "CANCELLED"
    put(ticket, content)
    wait_for(
        lambda: worker.sql("SELECT 1 FROM document_versions WHERE task_id = :id AND etag <> ''", id=ticket["task_id"]),
        "the file's arrival is known",
    )
    assert worker.ended(ticket["task_id"]).status == "CANCELLED"


def test_calls_that_do_not_fit_the_upload_are_refused(system: System) -> None:
    simple = announce(system, b"12345", "simple.txt").json()["document_id"]
    multipart = announce(system, b"12345", "parts.txt", method="multipart").json()["document_id"]
    refused: list[tuple[str, str, Any, int, str]] = [
        ("GET", f"{simple}/parts", None, 409, "NOT_MULTIPART"),
        ("POST", f"{simple}/complete", {}, 409, "NOT_MULTIPART"),
        ("POST", f"{simple}/parts", {"numbers": [1]}, 409, "NOT_MULTIPART"),
        ("POST", f"{multipart}/parts", {"numbers": [2]}, 422, "NO_SUCH_PART"),
        ("POST", f"{multipart}/parts", {"numbers": [0]}, 400, "INVALID_BODY"),
        ("POST", f"{multipart}/parts", {"numbers": []}, 400, "INVALID_BODY"),
        ("POST", f"{multipart}/complete", {"parts": [{"number": 1}]}, 400, "INVALID_BODY"),
        ("GET", "nowhere/parts", None, 404, "NOT_FOUND"),
        ("POST", "nowhere/complete", {}, 404, "NOT_FOUND"),
        ("DELETE", "nowhere", None, 404, "NOT_FOUND"),
    ]
    for method, path, body, status, code in refused:
        answer = system.http.request(method, f"/v1/uploads/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (method, path)
