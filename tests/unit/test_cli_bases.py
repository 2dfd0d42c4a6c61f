"""`brigade kb create` and `change` with chunking, `reindex`, `bind`, `bindings`, `unbind`."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.fake_api import FakeApi
from tests.unit.test_cli import Run, api, run
from tests.unit.test_cli_documents import BASE

__all__ = ["api", "run"]  # fixtures

MOMENT = "2026-11-22T08:00:00Z"
BINDING: dict[str, Any] = {
    "id": "i",
    "bucket_name": "b",
    "prefix": "incoming/invoices/",
    "knowledge_base_id": "k",
    "knowledge_base_name": "manuals",
    "user_id": "u",
    "username": "ada",
    "created_at": MOMENT,
}


def listed(*bases: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"items": list(bases), "next_cursor": None}


def test_a_base_is_made_with_the_chunking_that_is_given_or_the_servers(run: Run, api: FakeApi) -> None:
    api.answers = {"POST /v1/knowledge-bases": (201, BASE)}
    assert run("kb", "create", "manuals", "--chunk-size", 128, "--chunk-by", "page").exit_code == 0
    assert api.asked[-1][1]["chunking"] == {"size": 128, "overlap": 0, "by": "page"}
    assert run("kb", "create", "manuals").exit_code == 0
    assert api.asked[-1][1]["chunking"] is None
    half = run("kb", "create", "manuals", "--chunk-by", "page")
    assert (half.exit_code, len(api.asked)) == (1, 2)
    assert "--chunk-size" in half.stderr


def test_of_a_bases_chunking_what_is_left_out_stays(run: Run, api: FakeApi) -> None:
    api.answers = {
        "GET /v1/knowledge-bases": listed(BASE),
        "PATCH /v1/knowledge-bases/k": (200, {**BASE, "stale": 3}),
    }
    told = run("kb", "change", "manuals", "--chunk-by", "page")
    assert api.asked[-1][1] == {"chunking": {"size": 256, "overlap": 32, "by": "page"}}
    assert "3 documents keep the chunks they have until brigade reindex" in told.stdout
    run("kb", "change", "manuals", "--name", "handbooks")
    assert api.asked[-1][1] == {"name": "handbooks"}


def test_one_base_is_re_indexed_or_all_that_are_ones_own(run: Run, api: FakeApi) -> None:
    begun = {**BASE, "reindexing": {"remaining": 3, "since": MOMENT}}
    theirs = {**BASE, "id": "t", "name": "theirs", "role": "editor"}
    api.answers = {
        "GET /v1/knowledge-bases": listed(theirs, begun, {**BASE, "id": "l", "name": "letters"}),
        "POST /v1/knowledge-bases/k/reindex": (202, begun),
        "POST /v1/knowledge-bases/l/reindex": (202, {**begun, "id": "l"}),
    }
    assert "manuals: 3 documents are processed again" in run("reindex", "--kb", "manuals").stdout
    assert [one["id"] for one in json.loads(run("reindex", "--json").stdout)] == ["k", "l"]
    shown = run("kb", "list").stdout
    assert "re-indexing" in shown
    assert "3" in shown


def test_a_prefix_is_bound_listed_and_unbound(run: Run, api: FakeApi) -> None:
    api.answers = {
        "POST /v1/bindings": (201, BINDING),
        "GET /v1/bindings": listed(BINDING, {**BINDING, "id": "j", "bucket_name": "c"}),
        "DELETE /v1/bindings/j": (204, b""),
    }
    told = run("bind", "incoming/invoices/", "--kb", "manuals", "--owner", "ada")
    assert told.stdout == "Drops under b/incoming/invoices/ go into manuals as ada's.\n"
    assert api.asked[-1][1] == {
        "prefix": "incoming/invoices/",
        "knowledge_base_id": "manuals",
        "user_id": "ada",
        "bucket_name": None,
    }
    assert "incoming/invoices/" in run("bindings").stdout
    assert len(json.loads(run("bindings", "--json").stdout)) == 2
    several = run("unbind", "incoming/invoices/")
    assert (several.exit_code, "--bucket" in several.stderr) == (1, True)
    assert run("unbind", "incoming/invoices/", "--bucket", "c").stdout == "c/incoming/invoices/ is bound no more.\n"
    assert api.asked[-1][0] == "DELETE /v1/bindings/j"
    assert run("unbind", "nowhere/").exit_code == 1
