"""Status that moves, as server-sent events; and the whole of it, through processes as they run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from websockets.sync.client import connect

from tests.integration.live_api import LiveApi, People, update
from tests.integration.system import System

pytestmark = pytest.mark.integration


# Server-sent events


def told(lines: Iterator[str]) -> dict[str, str]:
    """The next event's fields."""
    event: dict[str, str] = {}
    for line in lines:
        if not line and event:
            return event
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
    return event


def test_events_begin_with_the_current_state_and_end_after_the_last(api: LiveApi, people: People, ann: str) -> None:
    with api.events("t", ann) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        first = told(lines)
        assert (first["event"], json.loads(first["data"])["status"]) == ("task_update", "RUNNING")
        people.complete("t")
        last = told(lines)
        assert json.loads(last["data"])["status"] == "COMPLETED"
        assert last["id"] != first["id"]
        assert list(lines) == []


def test_events_go_on_after_the_last_one_that_was_seen(api: LiveApi, people: People, ann: str) -> None:
    with api.events("t", ann) as answer:
        first = told(answer.iter_lines())
    with api.events("t", ann, last_event_id=first["id"]) as answer:
        people.complete("t")
        last = told(answer.iter_lines())
        assert json.loads(last["data"])["status"] == "COMPLETED"
    with api.events("t", ann, last_event_id=first["id"]) as answer:
        assert told(answer.iter_lines()) == last
    with api.events("t", ann, last_event_id=last["id"]) as answer:
        assert answer.status_code == 204


def test_a_heartbeat_is_a_comment(database_url: str) -> None:
    with LiveApi(database_url, stream_ping_seconds=0.05) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        with api.events("t", key) as answer:
            lines = answer.iter_lines()
            told(lines)
            assert next(line for line in lines if line).startswith(": ping")


def test_events_refuse_in_the_one_shape_before_they_begin(api: LiveApi, people: People, ann: str) -> None:
    bob = people.user("bob")
    for task, key, status in (("t", "wrong", 401), ("t", "", 401), ("t", bob, 403), ("none", bob, 404)):
        with api.events(task, key) as answer:
            answer.read()
            assert answer.status_code == status
            assert set(answer.json()["error"]) == {"code", "message", "timestamp", "details"}


def test_events_end_when_the_right_to_them_does(api: LiveApi, people: People, ann: str) -> None:
    with api.events("t", ann) as answer:
        lines = answer.iter_lines()
        told(lines)
        people.sql("UPDATE api_keys SET revoked_at = :now", now=datetime.now(UTC) - timedelta(seconds=1))
        assert list(lines) == []


# The whole: processes as they run, and the paths that the source documents' clients know


def test_a_workers_changes_reach_the_clients_of_every_api_process_on_every_path(worker: System) -> None:
    with worker.another_api() as url:
        for number, prefix in enumerate(("", "/v1", "/api", "/api/v1")):
            body = {"filename": f"live-{number}.txt", "size": 7, "content_type": "text/plain"}
            ticket = worker.http.post("/v1/uploads", json=body).json()
            path = f"{prefix}/ws/tasks/{ticket['task_id']}?token={worker.key}"
            one, two = (f"{host.replace('http', 'ws', 1)}{path}" for host in (worker.url, url))
            with connect(one, proxy=None) as here, connect(two, proxy=None) as there:
                assert update(here)["status"] == update(there)["status"] == "PENDING"
                put = httpx.put(ticket["url"], content=b"hello %d" % number, headers=ticket["headers"], trust_env=False)
                assert put.is_success
                for socket in (here, there):
                    seen = [update(socket)]
                    while seen[-1]["completed_at"] is None:
                        seen.append(update(socket))
                    assert seen[-1]["status"] == "COMPLETED"
                    progress = [task["overall_progress"] for task in seen]
                    assert progress == sorted(progress)
                    assert progress[-1] == 100
