"""Status that moves, as clients see it: over uvicorn and a real Postgres, changed by other connections."""

from __future__ import annotations

import json
import socket as sockets
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol

from common import task_views
from tests.integration.live_api import LiveApi, People, closed, update
from tests.processes import wait_until

pytestmark = pytest.mark.integration


def ask(socket: ClientConnection, message: str) -> Any:
    socket.send(message)
    return json.loads(socket.recv(timeout=10))


def test_the_current_state_comes_first_and_then_every_change(api: LiveApi, people: People, ann: str) -> None:
    people.progress("t", 10)
    with api.connect("t", f"?token={ann}") as socket:
        assert update(socket)["overall_progress"] == 9
        people.progress("t", 20)
        assert update(socket)["overall_progress"] == 18
        people.complete("t")
        assert update(socket)["status"] == "COMPLETED"


def test_what_no_client_sees_is_not_sent(api: LiveApi, people: People, ann: str) -> None:
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        people.sql("UPDATE task_details SET lease_until = now(), published_at = now() WHERE task_id = 't'")
        people.sql("UPDATE task_details SET progress = progress WHERE task_id = 't'")
        people.sql("INSERT INTO task_details (task_id, step_order, batch, step_name) VALUES ('t', 2, 1, 'STORE')")
        people.sql("UPDATE task_details SET progress = 50 WHERE task_id = 't' AND batch = 1")
        assert ask(socket, '{"command": "ping"}') == {"command": "pong"}
        people.complete("t")
        assert update(socket)["status"] == "COMPLETED"


def test_postgres_tells_of_what_clients_see_and_of_nothing_else(api: LiveApi, people: People, ann: str) -> None:
    heard: list[tuple[str, str]] = []
    api.live._listener._heard = lambda channel, payload: heard.append((channel, payload))
    people.sql("NOTIFY brigade_tasks, 'what came before'")
    wait_until(lambda: ("brigade_tasks", "what came before") in heard, seconds=10, what="the first notification")
    heard.clear()
    for statement in (
        "UPDATE task_details SET owner = 'w', lease_until = now(), published_at = now(), ready_at = now()",
        "UPDATE task_details SET progress = progress, details = details, status = status",
        "UPDATE tasks SET tidied_at = now(), status = status",
        "INSERT INTO task_details (task_id, step_order, batch, step_name) VALUES ('t', 2, 1, 'STORE')",
        "UPDATE task_details SET status = 'RUNNING', progress = 50 WHERE batch = 1",
        "UPDATE users SET password_hash = 'x'",
        "UPDATE task_details SET not_before = now() WHERE batch = 0",
        "UPDATE tasks SET error_message = 'why'",
        "UPDATE users SET disabled_at = now() WHERE id = 'ann'",
        "UPDATE api_keys SET revoked_at = now()",
        "DELETE FROM knowledge_base_members",
    ):
        people.sql(statement)
    wait_until(lambda: len(heard) >= 5, seconds=10, what="five notifications")
    assert heard == [("brigade_tasks", "t")] * 2 + [("brigade_auth", "")] * 3


def test_a_change_between_subscribing_and_reading_is_not_missed(
    api: LiveApi, people: People, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = task_views.read_tasks
    changed = threading.Event()

    def slow_read(*arguments: Any) -> Any:
        found = read(*arguments)
        if not changed.is_set():
            # Read already, not yet handed on.
            people.complete("t")
            changed.set()
        return found

    monkeypatch.setattr("router.web.live.read_tasks", slow_read)
    with api.connect("t", f"?token={ann}") as socket:
        assert update(socket)["status"] == "RUNNING"
        assert update(socket)["status"] == "COMPLETED"


def test_what_changed_while_nobody_listened_comes_when_listening_is_back(
    api: LiveApi, people: People, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, connect = threading.Event(), api.live._listener._connect

    def connect_when_told() -> Any:
        assert connecting.wait(10)
        return connect()

    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        monkeypatch.setattr(api.live._listener, "_connect", connect_when_told)
        people.sql("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'
        """)
        wait_until(lambda: not api.live.connected, seconds=10, what="the connection is lost")
        people.complete("t")
        connecting.set()
        assert update(socket)["status"] == "COMPLETED"
    assert api.live.connected


def test_a_burst_is_read_together_and_its_end_arrives(api: LiveApi, people: People, ann: str) -> None:
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        for percent in range(1, 101):
            people.progress("t", percent)
        seen = [update(socket)["overall_progress"]]
        while seen[-1] < 90:
            seen.append(update(socket)["overall_progress"])
    assert seen == sorted(seen)
    assert len(seen) < 100


def test_every_process_tells_its_own_clients(api: LiveApi, people: People, ann: str, database_url: str) -> None:
    with (
        LiveApi(database_url) as other,
        api.connect("t", f"?token={ann}") as one,
        other.connect("t", f"?token={ann}") as two,
    ):
        update(one), update(two)
        people.complete("t")
        assert update(one) == update(two)


def _in_query(api: LiveApi, key: str) -> ClientConnection:
    return api.connect("t", f"?token={key}")


def _in_subprotocol(api: LiveApi, key: str) -> ClientConnection:
    return api.connect("t", subprotocols=[Subprotocol("brigade"), Subprotocol(key)])


def _in_header(api: LiveApi, key: str) -> ClientConnection:
    return api.connect("t", additional_headers={"Authorization": f"Bearer {key}"})


def _in_first_message(api: LiveApi, key: str) -> ClientConnection:
    return api.connect("t")


WAYS = [_in_query, _in_subprotocol, _in_header, _in_first_message]


@pytest.mark.parametrize("way", WAYS)
def test_a_token_may_come_each_way(api: LiveApi, ann: str, way: Callable[[LiveApi, str], ClientConnection]) -> None:
    with way(api, ann) as socket:
        if way is _in_first_message:
            socket.send(json.dumps({"token": ann}))
        assert update(socket)["task_id"] == "t"
        assert socket.subprotocol == ("brigade" if way is _in_subprotocol else None)


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_token_closes_with_4001(api: LiveApi, ann: str, way: Callable[[LiveApi, str], ClientConnection]) -> None:
    wrong = "bb_nobodys-key-nobodys-key-nobodys-key"
    with way(api, wrong) as socket:
        if way is _in_first_message:
            socket.send(json.dumps({"token": wrong}))
        assert closed(socket) == 4001


@pytest.mark.parametrize(
    "message", ["", "{", '{"token": 1}', '{"token": "a\\u0000b"}', '{"command": "ping"}', b"\xff", "[" * 10_000]
)
def test_a_first_message_that_is_no_token_closes_with_4001(api: LiveApi, ann: str, message: str | bytes) -> None:
    with api.connect("t") as socket:
        socket.send(message)
        assert closed(socket) == 4001


def test_no_token_in_time_closes_with_4001(database_url: str) -> None:
    with LiveApi(database_url, stream_token_seconds=0.05) as api, api.connect("t") as socket:
        assert closed(socket) == 4001


def test_what_is_not_yours_closes_with_4003_and_what_is_not_there_with_4004(
    api: LiveApi, people: People, ann: str
) -> None:
    bob = people.user("bob")
    for task, code in (("t", 4003), ("none", 4004), ("%00", 4004), ("x" * 3000, 4004)):
        with api.connect(task, f"?token={bob}") as socket:
            assert closed(socket) == code
    people.share("ann", "bob", "reader")
    with api.connect("t", f"?token={bob}") as socket:
        assert update(socket)["task_id"] == "t"


def test_pages_of_other_sites_are_refused_before_anything_is_accepted(database_url: str) -> None:
    with LiveApi(database_url, allowed_origins=["https://app.example"]) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        own = f"http://127.0.0.1:{api.settings.api_port}"
        for origin in ("https://app.example", own):
            with api.connect("t", f"?token={key}", origin=origin) as socket:
                update(socket)
        for origin in ("https://evil.example", "null", "http://127.0.0.1", "https://app.example.evil", "http://["):
            with pytest.raises(InvalidStatus) as caught:
                api.connect("t", f"?token={key}", origin=origin)
            assert caught.value.response.status_code == 403
            assert json.loads(caught.value.response.body or b"")["error"]["code"] == "FORBIDDEN"


def test_cancel_is_for_editors_and_is_written_down(api: LiveApi, people: People, ann: str) -> None:
    bob = people.user("bob")
    people.share("ann", "bob", "reader")
    with api.connect("t", f"?token={bob}") as socket:
        update(socket)
        assert "editor" in ask(socket, '{"command": "cancel"}')["error"]
        people.sql("UPDATE knowledge_base_members SET role = 'editor'")
        socket.send('{"command": "cancel"}')
        assert update(socket)["status"] == "CANCELLED"
    people.sql(
        """
        DO $$ BEGIN ASSERT (SELECT (user_id, action, subject) = ('bob', 'task.cancel', 't') FROM audit_log); END $$
        """
    )


def test_an_ended_task_is_not_cancelled(api: LiveApi, people: People, ann: str) -> None:
    people.complete("t")
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        assert "ended" in ask(socket, '{"command": "cancel"}')["error"]


@pytest.mark.parametrize("message", ["", "x", "{}", '{"command": "dance"}', '{"command": ["ping"]}', b"\xff\x00", "["])
def test_rubbish_is_answered_with_what_is_taken(api: LiveApi, ann: str, message: str | bytes) -> None:
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        socket.send(message)
        assert "ping" in json.loads(socket.recv(timeout=10))["error"]
        assert ask(socket, '{"command": "ping"}') == {"command": "pong"}


def test_a_message_that_is_too_large_ends_the_socket(api: LiveApi, ann: str) -> None:
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        socket.send("x" * 20_000)
        assert closed(socket) == 1009


def test_a_stream_ends_when_its_credential_does(api: LiveApi, people: People, ann: str) -> None:
    people.sql("UPDATE api_keys SET expires_at = now() + interval '1 second'")
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
        assert closed(socket) == 4001


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE api_keys SET revoked_at = now() WHERE user_id = 'bob'", 4001),
        ("UPDATE api_keys SET expires_at = now() WHERE user_id = 'bob'", 4001),
        ("UPDATE api_keys SET expires_at = now() + interval '1 second' WHERE user_id = 'bob'", 4001),
        ("UPDATE api_keys SET scopes = '{write}' WHERE user_id = 'bob'", 4003),
        ("UPDATE users SET disabled_at = now() WHERE id = 'bob'", 4001),
        ("DELETE FROM knowledge_base_members WHERE user_id = 'bob'", 4003),
    ],
)
def test_a_right_that_is_revoked_ends_the_streams_that_had_it(
    api: LiveApi, people: People, ann: str, change: str, code: int
) -> None:
    bob = people.user("bob")
    people.share("ann", "bob", "reader")
    with api.connect("t", f"?token={bob}") as his, api.connect("t", f"?token={ann}") as hers:
        update(his), update(hers)
        people.sql(change)
        assert closed(his) == code
        people.complete("t")
        assert update(hers)["status"] == "COMPLETED"


def test_a_client_that_takes_nothing_is_dropped_and_holds_up_nobody(database_url: str) -> None:
    with LiveApi(database_url, stream_send_seconds=0.3) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        with deaf(api, key), api.connect("t", f"?token={key}") as quick:
            update(quick)
            wait_until(lambda: len(api.streams._streams) == 2, seconds=10, what="both watch")
            padding = "x" * 100_000
            for number in range(1000):
                people.sql(
                    "UPDATE task_details SET details = jsonb_build_object('n', :n ::int, 'p', :p ::text)"
                    " WHERE task_id = 't' AND step_order = 1",
                    n=number,
                    p=padding,
                )
                while update(quick)["task_details"][0]["details"]["n"] < number:
                    pass
                if len(api.streams._streams) == 1:
                    break
            assert len(api.streams._streams) == 1
            # What was still under way to it is not kept either.
            wait_until(lambda: api.connections == 1, seconds=10, what="its connection is given up")


def deaf(api: LiveApi, key: str) -> sockets.socket:
    """A WebSocket whose client never reads."""
    socket = sockets.socket()
    socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    socket.connect(("127.0.0.1", api.settings.api_port))
    socket.sendall(
        f"GET /ws/tasks/t?token={key} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return socket


@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /"])
def test_a_client_that_never_ends_its_request_is_hung_up_on(database_url: str, said: bytes) -> None:
    with LiveApi(database_url, request_seconds=0.3) as api, api.raw() as client:
        client.sendall(said)
        while client.recv(4096):
            pass
        wait_until(lambda: not api.connections, seconds=5, what="nothing of it is left")


def test_a_stream_may_be_silent_for_longer_than_a_request_may_take(database_url: str) -> None:
    with LiveApi(database_url, request_seconds=0.2) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        with api.connect("t", f"?token={key}") as socket, api.events("t", key) as events:
            assert update(socket)["task_id"] == "t"
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.5)
            people.complete("t")
            assert update(socket)["status"] == "COMPLETED"
            assert "COMPLETED" in events.read().decode()


def test_tokens_in_addresses_are_not_logged(
    api: LiveApi, ann: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    with api.connect("t", f"?token={ann}") as socket:
        update(socket)
    with api.connect("none", f"?token={ann}") as socket:
        closed(socket)
    with pytest.raises(InvalidStatus):
        api.connect("t", f"?token={ann}", origin="https://evil.example")
    monkeypatch.setattr("router.web.streams.admit", lambda *_: 1 / 0)
    with pytest.raises(ConnectionClosed), api.connect("t", f"?token={ann}") as socket:
        update(socket)
    with pytest.raises(httpx.HTTPError), api.events("t", ann) as answer:
        answer.raise_for_status()
    # The test's own client logs what it sends, too.
    ours = [record for record in caplog.records if not record.name.startswith(("websockets", "httpcore", "httpx"))]
    assert any("ZeroDivisionError" in (record.exc_text or "") for record in ours)
    assert not [record for record in ours if ann in record.getMessage() + (record.exc_text or "")]
