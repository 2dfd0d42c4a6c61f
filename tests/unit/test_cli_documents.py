"""`brigade documents`, `download`, `delete`, `cancel`, `retry`, `kb`, and `upload` of files that are there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.fake_api import FakeApi
from tests.unit.test_cli import Run, api, document, run

__all__ = ["api", "run"]  # fixtures

DOCUMENT: dict[str, Any] = {
    "id": "d0",
    "name": "水桶.pdf",
    "file_type": "pdf",
    "content_type": "application/pdf",
    "file_size": 5,
    "etag": "e",
    "sha256": None,
    "bucket_name": "b",
    "object_key": "incoming/d0/a.pdf",
    "version": 1,
    "shown_version": None,
    "knowledge_base_id": "k",
    "user_id": "u",
    "parent_id": None,
    "metadata": {},
    "processing_status": "FAILED",
    "error_code": None,
    "error_message": None,
    "task_id": "task-d0",
    "created_at": "2026-11-22T08:00:00Z",
    "updated_at": "2026-11-22T08:00:00Z",
}
BASE: dict[str, Any] = {
    "id": "k",
    "name": "manuals",
    "description": "",
    "chunking": {"size": 256, "overlap": 32},
    "role": "owner",
    "owner_id": "u",
    "created_at": "2026-11-22T08:00:00Z",
    "document_count": 3,
    "chunk_count": 40,
}
NOT_YOURS = {"error": {"code": "FORBIDDEN", "message": "This is not yours.", "details": {}}}


def downloadable(api: FakeApi, name: str) -> None:
    link = {"document_name": name, "version": 2, "download_url": f"{api.url}/bytes", "expires_in": 60}
    api.answers = {
        "GET /v1/documents/d0/download": (200, link),
        "GET /v1/documents/d0": (200, DOCUMENT),
        "GET /bytes": (200, b"bytes"),
    }


def test_a_file_that_is_there_already_is_said_to_be_and_sent_only_when_asked_for(run: Run, api: FakeApi) -> None:
    api.there, api.names = {"a.txt": "d0"}, {"d0": "a.txt"}
    path = document("a.txt")
    assert "is there already, as d0" in run("upload", path, "--wait").stdout
    assert json.loads(run("upload", path, "--json").stdout)["duplicate"] is True
    assert api.stored == {}
    assert run("upload", path, "--again", "--metadata", '{"year": 2026}').exit_code == 0
    assert api.stored == {"d1": path.read_bytes()}
    assert api.announced[-1]["metadata"] == {"year": 2026}


def test_files_of_the_same_bytes_are_each_told_of(run: Run, api: FakeApi) -> None:
    api.there, api.names = {"a.txt": "d0", "b.txt": "d0"}, {"d0": "a.txt"}
    shown = run("upload", document("a.txt"), document("b.txt"), "--wait", "--json").stdout
    assert {json.loads(line)["file"] for line in shown.splitlines()} == {"a.txt", "b.txt"}


def test_metadata_that_is_no_object_is_a_usage_error(run: Run) -> None:
    assert run("upload", document("a.txt"), "--metadata", "[1]").exit_code == 2


def test_documents_are_listed_by_base_state_and_name_over_pages(run: Run, api: FakeApi) -> None:
    api.answers = {"GET /v1/documents": (200, {"items": [DOCUMENT] * 2, "next_cursor": "more"})}
    shown = run("documents", "--kb", "manuals", "--status", "failed", "--q", "水", "--limit", 3)
    assert shown.stdout.count("水桶.pdf") == 3
    assert "There are more" in shown.stderr
    first, second = api.asked
    asked = {"knowledge_base_id": ["manuals"], "processing_status": ["FAILED"], "q": ["水"]}
    assert (first[1], second[1]) == (asked, {**asked, "cursor": ["more"]})


def test_what_was_in_a_document_is_listed_and_tells_what_it_was_in(run: Run, api: FakeApi) -> None:
    member = {**DOCUMENT, "parent_id": "29f6936b-73f6-4a90-a419-eaaccb547383"}
    api.answers = {"GET /v1/documents": (200, {"items": [member, DOCUMENT], "next_cursor": None})}
    assert run("documents").stdout.count("in 29f6936b") == 1
    told = run("documents", "--parent", member["parent_id"]).stdout
    assert (told.count("水桶.pdf"), told.count("29f6936b")) == (2, 0)
    assert [asked for _, asked in api.asked] == [{}, {"parent_id": [member["parent_id"]]}]


def test_a_download_has_the_documents_name_but_no_path_of_its_and_overwrites_nothing(run: Run, api: FakeApi) -> None:
    downloadable(api, "../../.水桶.pdf")
    assert run("download", "d0").exit_code == 0
    assert Path("水桶.pdf").read_bytes() == b"bytes"
    again = run("download", "d0")
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert json.loads(run("download", "d0", "-o", "水桶.pdf", "--json").stdout)["version"] == 2
    assert [path.name for path in Path().iterdir()] == ["水桶.pdf"]


def test_a_download_that_the_store_refuses_leaves_nothing(run: Run, api: FakeApi) -> None:
    downloadable(api, "a.pdf")
    api.answers["GET /bytes"] = (403, b"<Error><Code>AccessDenied</Code></Error>")
    result = run("download", "d0")
    assert result.exit_code == 1
    assert result.stderr == "Error: The store refused the download: 403 AccessDenied\n"
    assert list(Path().iterdir()) == []
    assert "cannot be written" in run("download", "d0", "-o", "no/such/place").stderr


def test_one_document_that_cannot_be_deleted_stops_no_other(run: Run, api: FakeApi) -> None:
    api.names = {"d0": "a.txt"}
    api.answers = {
        "DELETE /v1/documents/d0": (202, {"task_id": "task-d0"}),
        "DELETE /v1/documents/d1": (403, NOT_YOURS),
    }
    result = run("delete", "d1", "d0", "--wait")
    assert result.exit_code == 1
    assert "d0  is deleted" in result.stdout
    assert "d1: This is not yours." in result.stderr


def test_a_deletion_that_fails_is_exit_code_1(run: Run, api: FakeApi) -> None:
    api.names, api.failing = {"d0": "a.txt"}, frozenset({"a.txt"})
    api.answers = {"DELETE /v1/documents/d0": (202, {"task_id": "task-d0"})}
    result = run("delete", "d0", "--wait", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "FAILED"


def test_a_task_is_cancelled_and_tried_again(run: Run, api: FakeApi) -> None:
    api.answers = {
        "POST /v1/tasks/t/cancel": (202, {"task_id": "t", "status": "CANCELLED"}),
        "POST /v1/tasks/t/retry": (403, NOT_YOURS),
    }
    assert run("cancel", "t").stdout == "t is CANCELLED\n"
    refused = run("retry", "t", "--json")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", "Error: This is not yours.\n")


def test_a_base_is_shared_by_its_name(run: Run, api: FakeApi) -> None:
    others = {**BASE, "id": "other", "role": "reader"}
    api.answers = {
        "GET /v1/knowledge-bases": (200, {"items": [others, BASE], "next_cursor": None}),
        "PUT /v1/knowledge-bases/k/members/ada": (200, {"user_id": "u2", "username": "ada", "role": "editor"}),
    }
    assert run("kb", "share", "manuals", "ada", "--role", "editor").stdout == "ada is editor of manuals.\n"
    assert api.asked[-1] == ("PUT /v1/knowledge-bases/k/members/ada", {"role": "editor"})
    assert "There is no knowledge base 'none'" in run("kb", "share", "none", "ada").stderr


def test_a_base_is_deleted_only_after_a_yes(run: Run, api: FakeApi) -> None:
    api.answers = {
        "GET /v1/knowledge-bases": (200, {"items": [BASE], "next_cursor": None}),
        "DELETE /v1/knowledge-bases/k": (202, {"knowledge_base_id": "k", "task_ids": ["t1", "t2"]}),
    }
    assert run("kb", "delete", "manuals").exit_code == 1
    assert ("DELETE /v1/knowledge-bases/k", {}) not in api.asked
    assert json.loads(run("kb", "delete", "manuals", "--yes", "--json").stdout)["task_ids"] == ["t1", "t2"]
