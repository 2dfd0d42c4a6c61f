"""POST /documents/upload on real servers: a form comes, and its file is a document; or nothing of it is left."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from common.errors import Unavailable
from common.http import Call
from common.multipart import Multipart
from common.principal import Principal
from functions.http.streamed import DocumentUpload
from router.table import PIPELINES
from tests.integration.system import System, wait_for

pytestmark = pytest.mark.integration

_MIB = 1 << 20
_BOUNDARY = "----of-the-test"


def part(name: str, content: bytes, filename: str | None = None, *, extended: bool = False) -> bytes:
    """A part of a form; `extended`: its file's name as RFC 5987 has it."""
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f"; filename*=UTF-8''{quote(filename)}" if extended else f'; filename="{filename}"'
    return f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


def send(system: System, *parts: bytes, path: str = "/v1/documents/upload", length: bool = True) -> httpx.Response:
    body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return system.http.post(path, content=body if length else pieces(body), headers=headers)


def pieces(body: bytes) -> Iterator[bytes]:
    """Of uneven sizes, so that boundaries are cut anywhere; sent without a Content-Length."""
    sizes, at = random.Random(3), 0
    while at < len(body):
        size = sizes.choice((1, 7, 100, 70_000, 3 * _MIB))
        yield body[at : at + size]
        at += size


def left(system: System, name: str) -> tuple[int, list[str]]:
    """Documents of this name, and keys of the store's unfinished uploads."""
    (row,) = system.sql("SELECT count(*) FROM documents WHERE name = :name", name=name)
    return row[0], [key for key in open_uploads(system) if key.endswith(f"/{name}")]


def open_uploads(system: System) -> list[str]:
    listed = system.services.objects.admin.list_multipart_uploads(Bucket=system.settings.bucket)
    return [one["Key"] for one in listed.get("Uploads", [])]


def stored(system: System, document_id: str) -> Any:
    (row,) = system.sql("SELECT bucket_name, object_key FROM documents WHERE id = :id", id=document_id)
    return system.services.objects.admin.get_object(Bucket=row.bucket_name, Key=row.object_key)


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1", "/api"])
def test_a_file_in_a_form_becomes_a_document_that_is_found(worker: System, prefix: str) -> None:
    text = f"The lighthouse keeper of {prefix} counts seven grey seals."
    answer = worker.http.post(
        f"{prefix}/documents/upload",
        files={"file": ("seals.txt", text.encode(), "text/plain")},
        data={"metadata": '{"island": "Hoy"}'},
    )
    told = answer.json()
    assert (answer.status_code, told["success"], told["duplicate"]) == (201, True, False)
    assert worker.ended(told["task_id"]).status == "COMPLETED"
    assert worker.found("seven grey seals", told["document_id"])
    document = worker.http.get(f"/v1/documents/{told['document_id']}").json()
    assert document["metadata"] == {"island": "Hoy"}
    (row,) = worker.sql("SELECT sha256, content_type FROM document_versions WHERE document_id = :id", id=document["id"])
    assert tuple(row) == (hashlib.sha256(text.encode()).hexdigest(), "text/plain")


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("size", [0, 8 * _MIB - 1, 8 * _MIB, 20 * _MIB + 5])
def test_every_byte_arrives_whatever_the_pieces_and_fields_after_the_file_count(
    system: System, size: int, extended: bool
) -> None:
    body = random.Random(size + extended).randbytes(size)
    name = f"说明书 {size} {extended}.bin"
    answer = send(
        system,
        part("file", body, name, extended=extended),
        part("metadata", json.dumps({"语言": "中文"}).encode()),
        part("sha256", hashlib.sha256(body).hexdigest().encode()),
        length=extended,
    )
    assert answer.status_code == 201, answer.text
    document = system.http.get(f"/v1/documents/{answer.json()['document_id']}").json()
    assert (document["name"], document["file_size"], document["metadata"]) == (name, size, {"语言": "中文"})
    assert stored(system, document["id"])["Body"].read() == body
    assert left(system, name) == (1, [])


def test_the_same_bytes_are_recognised_unless_asked_not_to_be(worker: System) -> None:
    file = {"file": ("twice.txt", b"Twice told tales are told but once.", "text/plain")}
    first = worker.http.post("/v1/documents/upload", files=file).json()
    assert worker.ended(first["task_id"]).status == "COMPLETED"
    again = worker.http.post("/v1/documents/upload", files=file)
    assert again.status_code == 200
    assert again.json() | {"message": ""} == first | {"duplicate": True, "message": ""}
    other = worker.http.post("/v1/documents/upload", files=file, data={"allow_duplicate": "true"})
    assert other.status_code == 201
    assert other.json()["document_id"] != first["document_id"]


@pytest.mark.parametrize(
    ("field", "value", "status", "code"),
    [
        ("metadata", b"{", 400, "INVALID_BODY"),
        ("sha256", b"0" * 64, 422, "SHA256_MISMATCH"),
        ("knowledge_base_id", b"of somebody else", 404, "NOT_FOUND"),
    ],
)
@pytest.mark.parametrize("size", [10, 9 * _MIB])
@pytest.mark.parametrize("after", [False, True])
def test_what_is_refused_leaves_nothing(
    system: System, field: str, value: bytes, status: int, code: str, size: int, after: bool
) -> None:
    name = f"refused {field} {size} {after}.bin"
    parts = [part(field, value), part("file", bytes(size), name)]
    answer = send(system, *(reversed(parts) if after else parts))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert left(system, name) == (0, [])


def test_a_client_that_goes_away_leaves_nothing(system: System) -> None:
    name = "half.bin"
    head = (
        "POST /v1/documents/upload HTTP/1.1\r\nHost: test\r\n"
        f"X-API-Key: {system.key}\r\nContent-Length: {100 * _MIB}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", system.settings.api_port), timeout=30) as client:
        client.sendall(head.encode() + part("file", bytes(20 * _MIB), name))
        wait_for(lambda: left(system, name)[1], "the store has a part of it")
    wait_for(lambda: left(system, name) == (0, []), "nothing is left")


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(system: System) -> None:
    size = system.settings.max_document_bytes + system.settings.max_request_bytes + 1
    head = (
        "POST /v1/documents/upload HTTP/1.1\r\nHost: test\r\n"
        f"X-API-Key: {system.key}\r\nContent-Length: {size}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", system.settings.api_port), timeout=30) as client:
        client.sendall(head.encode())
        answer = client.makefile("rb").read()  # until the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"TOO_LARGE"' in answer


@pytest.mark.parametrize("expect", [(), ("-H", "Expect:")])  # that takes it away
def test_curl_can_upload(system: System, tmp_path: Path, expect: tuple[str, ...]) -> None:
    file = tmp_path / 'of "curl" 文件.bin'
    file.write_bytes(random.Random(len(expect)).randbytes(9 * _MIB))
    form = ("-F", f'file=@"{_escaped(file)}"', "-F", 'metadata={"by":"curl"}')
    url = f"{system.url}/v1/documents/upload"
    command = ["curl", "-sS", "--noproxy", "*", "-m", "60", "-v", "-H", f"X-API-Key: {system.key}", *expect, *form, url]
    ended = subprocess.run(command, capture_output=True, check=True)
    told = json.loads(ended.stdout)
    assert told["success"], told
    assert (b"< HTTP/1.1 100 Continue" in ended.stderr) == (not expect)
    assert stored(system, told["document_id"])["Body"].read() == file.read_bytes()


def begun(system: System, name: str) -> DocumentUpload:
    call = Call(system.services, PIPELINES, Principal("admin", is_admin=True))
    upload = DocumentUpload(call)
    upload.write(bytes(upload.begin(name, "", {})))
    return upload


def test_an_object_that_cannot_be_completed_ends_its_task(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise Unavailable("The store went away.", server="store")

    monkeypatch.setattr(Multipart, "complete", fails)
    with pytest.raises(Unavailable):
        begun(system, "incomplete.bin").finish(b"rest", {})
    assert open_uploads(system) == []
    (row,) = system.sql("""
        SELECT task.status, task.error_code FROM documents JOIN tasks AS task ON task.document_id = documents.id
        WHERE name = 'incomplete.bin'
    """)
    assert tuple(row) == ("CANCELLED", "UPLOAD_ABORTED")


def test_an_object_whose_completion_is_not_heard_of_is_a_document(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    completes = Multipart.complete

    def loses_the_answer(*given: Any) -> None:
        # The store's event finds its document, however fast it is.
        assert left(system, "unheard.bin") == (1, [given[1]])
        completes(*given)
        raise Unavailable("The store went away.", server="store")

    monkeypatch.setattr(Multipart, "complete", loses_the_answer)
    receipt = begun(system, "unheard.bin").finish(b"rest", {}).body
    assert stored(system, receipt.document_id)["ContentLength"] == (8 << 20) + 4


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
