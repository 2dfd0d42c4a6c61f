"""The client in Python and the command line against the whole system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.client import ApiError, Client
from tests.integration.system import System, wait_for

pytestmark = pytest.mark.integration

Run = Callable[..., Any]

_PARTS = 8


@pytest.fixture
def run(worker: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Calls `brigade` in a directory of its own."""
    monkeypatch.setenv("BRIGADE_URL", worker.url)
    monkeypatch.setenv("BRIGADE_API_KEY", worker.key)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def text(name: str) -> Path:
    """A file of this name, unlike any other."""
    path = Path(name)
    path.write_text(f"# {uuid4()}\n\nThe bucket brigade hands the water along. 救火队伍传递水桶。\n")
    return path


class Recording(httpx.HTTPTransport):
    """The wire, and the numbers of the parts that went over it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if number := request.url.params.get("partNumber"):
            self.parts.append(int(number))
        return super().handle_request(request)


# Dies by SIGKILL as soon as the store has a part.
_DIES = """
import os, signal, sys
from pathlib import Path
from deploy.client import Client
from deploy.client.uploads import sha256_of

path = Path(sys.argv[1])
client = Client(os.environ["BRIGADE_URL"], os.environ["BRIGADE_API_KEY"])
ticket = client.uploads.announce(
    path.name, path.stat().st_size, "application/octet-stream", sha256=sha256_of(path), method="multipart"
)
print(ticket.document_id, flush=True)
sent = 0

def on_bytes(count):
    global sent
    before, sent = sent, sent + count
    if sent >> 20 > before >> 20 and client.uploads.progress(ticket.document_id).parts:
        os.kill(os.getpid(), signal.SIGKILL)

client.uploads.send(ticket, path, on_bytes)
"""


def test_a_client_that_was_killed_goes_on_and_sends_no_part_again(worker: System, tmp_path: Path) -> None:
    path = tmp_path / "大桶.bin"
    content = os.urandom(worker.settings.upload_part_bytes * (_PARTS - 1) + 12345)
    path.write_bytes(content)
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, str(path)],
        env={**os.environ, "BRIGADE_URL": worker.url, "BRIGADE_API_KEY": worker.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    document = killed.stdout.strip()
    arrived = {part.number for part in worker.client.uploads.progress(document).parts}
    assert 0 < len(arrived) < _PARTS

    wire, heard = Recording(), list[int]()
    with Client(worker.url, worker.key, transport=wire) as client:
        ticket = client.upload(path, method="multipart", on_bytes=heard.append)
    assert (ticket.document_id, ticket.resumed) == (document, True)
    assert sorted(wire.parts) == sorted(set(range(1, _PARTS + 1)) - arrived)
    assert sum(heard) == len(content)

    task = worker.ended(ticket.task_id)
    assert task.error_code == "UNSUPPORTED_TYPE"  # it arrived and was looked at
    saved = tmp_path / "saved"
    worker.client.documents.download(document, saved)
    assert saved.read_bytes() == content
    assert worker.client.documents.get(document).name == "大桶.bin"


def test_an_upload_that_is_given_up_leaves_nothing_and_ends_its_task(worker: System) -> None:
    ticket = worker.client.uploads.announce("a.bin", 1 << 20, "application/octet-stream", method="multipart")
    httpx.put(ticket.parts[0].url, content=bytes(1 << 20)).raise_for_status()
    worker.client.uploads.abort(ticket.document_id)
    assert worker.client.task(ticket.task_id).status == "CANCELLED"
    with pytest.raises(ApiError) as caught:
        worker.client.uploads.complete(ticket.document_id)
    assert caught.value.status == 409


def test_a_document_from_upload_to_deletion_on_the_command_line(worker: System, run: Run) -> None:
    path = text("水桶 接力.md")
    kb = run("kb", "create", f"brigade-{uuid4()}", "--json")
    base = json.loads(kb.stdout)

    sent = run("upload", path, "--wait", "--kb", base["name"], "--metadata", '{"year": 2026}', "--json")
    assert sent.exit_code == 0, sent.stderr
    outcome = json.loads(sent.stdout)
    document = outcome["document_id"]
    assert (outcome["status"], outcome["duplicate"]) == ("COMPLETED", False)

    again = json.loads(run("upload", path, "--kb", base["name"], "--json").stdout)
    assert (again["document_id"], again["duplicate"]) == (document, True)

    (listed,) = json.loads(run("documents", "--kb", base["name"], "--status", "completed", "--json").stdout)
    assert (listed["id"], listed["name"], listed["metadata"]) == (document, "水桶 接力.md", {"year": 2026})
    assert json.loads(run("kb", "list", "--json").stdout)[0]["document_count"] == 1

    (hit, *_) = json.loads(run("search", "谁在传水桶？", "--kb", base["name"], "--json").stdout)["hits"]
    assert hit["document_id"] == document

    refused = run("download", document)
    assert refused.exit_code == 1
    assert "is there already" in refused.stderr
    original = path.read_bytes()
    path.unlink()
    assert run("download", document).exit_code == 0
    assert path.read_bytes() == original

    assert "救火队伍" in "".join(page.text for page in worker.client.documents.text(document))
    assert [chunk.number for chunk in worker.client.documents.chunks(document)] == [0]

    gone = run("delete", document, "--wait", "--json")
    assert gone.exit_code == 0, gone.stderr
    assert json.loads(gone.stdout)["status"] == "COMPLETED"
    assert worker.rows_of(document) == []
    assert "There is no document" in run("download", document).stderr
    assert run("kb", "delete", base["name"], "--yes").exit_code == 0


def test_a_task_can_be_cancelled_but_not_when_it_has_ended(worker: System, run: Run) -> None:
    ticket = worker.client.announce("never.txt", 10, "text/plain")
    assert json.loads(run("cancel", ticket.task_id, "--json").stdout)["status"] == "CANCELLED"
    assert run("status", ticket.task_id, "--wait").exit_code == 1
    refused = run("retry", ticket.task_id)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")


def test_who_logs_in_sees_what_is_theirs_and_what_is_shared_with_them(worker: System, tmp_path: Path) -> None:
    name, password = f"user-{uuid4()}", "a long enough password"
    user = worker.client.people.create_user(name, password=password)
    (tmp_path / "a.txt").write_text(f"{uuid4()}: a shared text about ladders.")
    base = worker.client.knowledge_bases.create(f"shared-{uuid4()}")
    ticket = worker.client.upload(tmp_path / "a.txt", knowledge_base=base.id)
    worker.ended(ticket.task_id)
    with worker.client.log_in(name, password) as theirs:
        assert theirs.people.me().user.id == user.id
        assert list(theirs.documents.list()) == []
        with pytest.raises(ApiError) as caught:
            theirs.documents.get(ticket.document_id)
        assert caught.value.code == "FORBIDDEN"
        worker.client.knowledge_bases.share(base.id, name)
        assert [one.id for one in theirs.documents.list()] == [ticket.document_id]
        hit = theirs.search("ladders", knowledge_base=[base.id]).hits[0]
        told = (hit.document_id, hit.knowledge_base_id, hit.knowledge_base_name)
        assert told == (ticket.document_id, base.id, base.name)
        with pytest.raises(ApiError):
            theirs.upload(tmp_path / "a.txt", knowledge_base=base.id)
        key = theirs.people.create_key("a script's", scopes=["read"])
    with Client(worker.url, key.key) as script:
        assert wait_for(lambda: list(script.tasks.list(status=["COMPLETED", "FAILED"])), "its tasks are seen")
    with pytest.raises(ApiError) as wrong:
        worker.client.log_in(name, "another password")
    assert wrong.value.status == 401
