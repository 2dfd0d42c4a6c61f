"""`brigade dead-letters`, `redrive`, `forget` and `queues`, against a fake API over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from common.errors import Unavailable
from deploy.cli import app, inspection
from deploy.client import Client
from deploy.local import environment
from router import topology
from tests.unit.fake_api import KEY, FakeApi, fake_api

LETTER: dict[str, Any] = {
    "id": "0123456789abcdef0123456789abcdef",
    "queue": "brigade.step.split",
    "code": "WORKER_DIED",
    "reason": "The worker died\x1b[2J in each of 5 runs, " + "each of them a long one, " * 10,
    "state": "open",
    "times": 2,
    "died_at": "2026-11-26T20:00:00Z",
    "last_died_at": "2026-11-26T21:00:00Z",
    "size": 119,
    "task_id": "t",
    "step_name": "SPLIT",
    "document_id": "d",
    "document_name": "a.txt",
    "redriven_at": None,
    "redriven_by": None,
}
GIVEN = {"kind": "artifact", "size": 60, "step_name": "PREPROCESS", "parts": 1, "first": 0, "last": 30}
WHOLE = LETTER | {"body": {"step": "SPLIT"}, "body_format": "json", "complete": True, "input": GIVEN}
DONE = {"id": "a", "code": "REDRIVEN", "reason": "It has been sent again already."}
REFUSED = {"id": "b", "code": "SUPERSEDED", "reason": "A newer task of the document took this one's place."}

Run = Callable[..., Any]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as api:
        yield api


@pytest.fixture
def run(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("BRIGADE_URL", "BRIGADE_API_KEY", "BRIGADE_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "var").mkdir()
    environment.write(tmp_path / "var" / "local.env", {"BRIGADE_URL": api.url, "BRIGADE_API_KEY": KEY})
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def redriven(redriven: int = 0, skipped: Any = (), left: int = 0, cursor: str | None = None) -> tuple[int, Any]:
    return 200, {"redriven": redriven, "skipped": list(skipped), "left": left, "next_cursor": cursor}


def test_a_list_shows_ids_and_reasons_whole_and_steers_no_terminal(run: Run, api: FakeApi) -> None:
    api.answers["GET /v1/dead-letters"] = (200, {"items": [LETTER], "next_cursor": None})
    shown = run("dead-letters", "--queue", "q", "--code", "C", "--state", "open").stdout
    assert [line.split()[0] for line in shown.splitlines()] == [LETTER["id"], "The"]
    assert "2 times" in shown
    assert "\x1b" not in shown
    assert api.asked == [("GET /v1/dead-letters", {"queue": ["q"], "code": ["C"], "state": ["open"]})]
    assert json.loads(run("dead-letters", "--json").stdout)[0]["reason"] == LETTER["reason"]


def test_one_is_shown_with_its_body_and_its_input(run: Run, api: FakeApi) -> None:
    api.answers[f"GET /v1/dead-letters/{LETTER['id']}"] = (200, WHOLE)
    shown = run("dead-letters", LETTER["id"]).stdout
    assert "what PREPROCESS made, of 60 bytes, of it bytes 0 to 30" in shown
    assert '"step": "SPLIT"' in shown
    assert json.loads(run("dead-letters", LETTER["id"], "--json").stdout)["input"] == GIVEN


def test_all_are_sent_again_or_those_of_a_kind_or_these(run: Run, api: FakeApi) -> None:
    api.answers["POST /v1/dead-letters/redrive"] = redriven(2, left=1)
    result = run("redrive", "--all")
    assert (result.exit_code, result.stdout) == (0, "2 sent again, 1 still open\n")
    assert api.asked == [("POST /v1/dead-letters/redrive", {"queue": None, "code": None, "all": True})]
    run("redrive", "--queue", "q")
    assert api.asked[1][1] == {"queue": "q", "code": None, "all": False}
    api.asked.clear()
    run("redrive", *[f"id{number}" for number in range(150)])
    assert [len(body["ids"]) for _, body in api.asked] == [100, 50]


def test_a_kind_of_which_there_are_many_takes_as_many_calls_as_the_api_wants() -> None:
    asked: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        following = {1: "c1", 2: "c2"}.get(len(asked))
        return httpx.Response(200, json=redriven(100, [REFUSED], left=3, cursor=following)[1])

    with Client("http://example.test", "key", transport=httpx.MockTransport(answer)) as client:
        made = client.dead_letters.redrive_all(code="C")
    assert (made.redriven, made.left, len(made.skipped)) == (300, 3, 3)
    assert [body.get("cursor") for body in asked] == [None, "c1", "c2"]
    assert {body["code"] for body in asked} == {"C"}


def test_what_was_done_already_is_no_failure_and_what_is_refused_is(run: Run, api: FakeApi) -> None:
    api.answers["POST /v1/dead-letters/redrive"] = redriven(0, [DONE])
    result = run("redrive", "a")
    assert (result.exit_code, result.stderr) == (0, "")
    api.answers["POST /v1/dead-letters/redrive"] = redriven(1, [DONE, REFUSED])
    result = run("redrive", "a", "b")
    assert (result.exit_code, result.stderr) == (1, f"Error: b: {REFUSED['reason']} (SUPERSEDED)\n")
    assert json.loads(run("redrive", "a", "b", "--json").stdout)["redriven"] == 1


@pytest.mark.parametrize("arguments", [(), ("a", "--all"), ("--all", "--code", "C")])
def test_which_ones_must_be_said(run: Run, api: FakeApi, arguments: tuple[str, ...]) -> None:
    assert run("redrive", *arguments).exit_code == 2
    assert api.asked == []


def test_one_is_forgotten(run: Run, api: FakeApi) -> None:
    api.answers["DELETE /v1/dead-letters/a"] = (204, b"")
    assert run("forget", "a").stdout == "a is forgotten\n"


def test_queues_tell_their_dead_letters_and_lack_only_those_without_postgres(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> dict[str, int]:
        raise Unavailable("Postgres did not answer.")

    monkeypatch.setattr(inspection, "depths", lambda _, names: [(name, 3, 1) for name in names])
    monkeypatch.setattr(inspection, "_open_letters", lambda _: {topology.NOTIFICATIONS: 2, "": 1})
    rows = json.loads(run("queues", "--json").stdout)
    assert rows[0] == {"queue": topology.NOTIFICATIONS, "ready": 3, "consumers": 1, "dead": 2}
    assert rows[-1] == {"queue": "", "ready": None, "consumers": None, "dead": 1}
    assert [row["dead"] for row in rows[1:-1]] == [0] * (len(topology.queue_names()) - 1)
    monkeypatch.setattr(inspection, "_open_letters", away)
    result = run("queues", "--json")
    assert (result.exit_code, json.loads(result.stdout)[0]["dead"]) == (1, None)
    assert "Postgres did not answer." in result.stderr
