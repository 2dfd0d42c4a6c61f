"""What is read of a dead letter, whatever its sender put into it; and messages that pika alone would choke on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import frame, spec

from common import dead_letters
from common.db import Database
from common.dead_letters import Letter
from common.errors import BrigadeError, Unavailable
from router import letters, topology
from router.broker import Delivery
from router.fake_broker import FakeBroker
from router.message import Message, encode
from router.properties import Properties, read_any
from router.undertaker import Undertaker, letter_of

SPLIT = topology.step_queue("SPLIT")
MESSAGE = encode(Message("DOCUMENT_UPLOAD", "SPLIT", "t", 5, 2))
DIED = datetime(2026, 11, 26, 12, tzinfo=UTC)


def delivery(headers: Any = None, body: bytes = b"{}", key: Any = "") -> Delivery:
    return Delivery(topology.DEAD, key, body, headers or {}, tag=1, epoch=1)


def by_rabbitmq(*deaths: Any) -> Delivery:
    return delivery({"x-death": list(deaths)}, MESSAGE, "SPLIT")


def death(**changes: Any) -> dict[str, Any]:
    return {"reason": "delivery_limit", "queue": SPLIT, "time": DIED, "count": 1} | changes


def test_what_we_give_up_tells_all_of_itself() -> None:
    sent = letters.dead(MESSAGE, queue=SPLIT, error=BrigadeError("Too bad.", code="TOO_BAD"))
    letter = letter_of(delivery(sent.headers, sent.body, sent.key))
    assert letter.died_at is not None
    assert datetime.now(UTC) - letter.died_at < timedelta(minutes=1)
    assert letter == Letter(SPLIT, MESSAGE, "TOO_BAD", "Too bad.", letter.died_at, "t", "SPLIT", 2)


def test_what_rabbitmq_gives_up_tells_where_and_when() -> None:
    letter = letter_of(by_rabbitmq(death(reason="expired", queue=topology.rung(10)), death()))
    assert (letter.queue, letter.code, letter.died_at, letter.task_id) == (SPLIT, "DELIVERY_LIMIT", DIED, "t")
    assert f"{topology.DELIVERY_LIMIT} times" in letter.reason
    naive = letter_of(by_rabbitmq(death(time=DIED.replace(tzinfo=None))))
    assert naive.died_at == DIED


@pytest.mark.parametrize(
    "given_headers",
    [
        {},
        {"brigade-code": 7, "brigade-reason": None, "brigade-queue": [SPLIT]},
        {"brigade-code": b"\xff", b"brigade-code": "X", "x-death": "often"},
        {"x-death": []},
        {"x-death": [None, 3, "a"]},
        {"x-death": {"reason": "expired"}},
    ],
)
def test_a_letter_that_says_nothing_of_itself_is_one_too(given_headers: dict[Any, Any]) -> None:
    letter = letter_of(delivery(given_headers, MESSAGE, SPLIT))
    assert (letter.code, letter.queue, letter.died_at) == ("UNKNOWN", SPLIT, None)


@pytest.mark.parametrize("code", ["", "\x1b[2J", "a", "X" * 100, "A B", "Ä"])
def test_a_code_is_a_word_and_steers_no_terminal(code: str) -> None:
    assert letter_of(delivery({"brigade-code": code or "-"})).code == "UNKNOWN"


@pytest.mark.parametrize("queue", ["", "no.such.queue", "\x1b[2J", SPLIT + "\0", None, 3])
def test_a_queue_that_is_not_ours_is_none(queue: Any) -> None:
    assert letter_of(delivery({"brigade-code": "X", "brigade-queue": queue}, key=b"\xff\xfe")).queue == ""


@pytest.mark.parametrize("moment", ["soon", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", b"", 5, None])
def test_a_time_that_is_none_is_now(moment: Any) -> None:
    assert letter_of(delivery({"brigade-code": "X", "brigade-died-at": moment})).died_at is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x" * 10_000_000,
        b"[" * 1000,
        b"\xff",
        MESSAGE.replace(b'"t"', b'"' + b"t" * 300 + b'"'),
        MESSAGE.replace(b'"batch":2', b'"batch":99999999999'),
        MESSAGE.replace(b'"t"', rb'"\u0000"'),
    ],
)
def test_what_is_no_message_of_a_step_names_no_task(body: bytes) -> None:
    assert body != MESSAGE
    assert letter_of(delivery({"brigade-code": "X", "brigade-queue": SPLIT}, body)).task_id is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["brigade-code", "brigade-reason", "brigade-queue", "brigade-died-at", "x-death", b"x"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES), st.binary(), st.text() | st.binary())
def test_nothing_a_sender_does_is_an_error(headers: dict[Any, Any], body: bytes, key: Any) -> None:
    letter = letter_of(delivery(headers, body, key))
    assert letter.body == body
    assert letter.queue in ("", *topology.queue_names())


# Kept before it is acked.


class Table:
    """Takes letters, unless it has `troubles`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *troubles: Exception) -> None:
        self.kept: list[Letter] = []
        self.troubles = list(troubles)
        monkeypatch.setattr(dead_letters, "keep", self.keep)

    def keep(self, _: Any, letter: Letter) -> str:
        if self.troubles:
            raise self.troubles.pop(0)
        self.kept.append(letter)
        return "id"

    @contextmanager
    def transaction(self) -> Any:
        yield None


Made = Callable[..., tuple[Undertaker, Table]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    def make(*troubles: Exception) -> tuple[Undertaker, Table]:
        table = Table(monkeypatch, *troubles)
        return Undertaker(cast(Database, table)), table

    return make


def test_a_letter_that_cannot_be_kept_now_is_not_acked_and_tried_again(made: Made) -> None:
    undertaker, table = made(Unavailable("Away."))
    broker, letter = FakeBroker(), delivery(body=MESSAGE)
    broker.unacked[1] = letter
    assert not undertaker.handle(broker, letter)
    assert broker.unacked
    assert undertaker.handle(broker, letter)
    assert not broker.unacked
    assert [one.body for one in table.kept] == [MESSAGE]


def test_a_letter_that_nobody_foresaw_is_kept_without_what_it_says_of_itself(made: Made) -> None:
    undertaker, table = made(ValueError("?"))
    assert undertaker.handle(FakeBroker(), delivery({"brigade-code": "X"}, MESSAGE))
    assert [(one.code, one.body, one.task_id) for one in table.kept] == [("UNKNOWN", MESSAGE, None)]
    undertaker, table = made(ValueError("?"), ValueError("?"))
    assert not undertaker.handle(FakeBroker(), delivery())


# Headers as they are on the wire.

ODD_HEADERS = {
    "a time after the year 9999": b"T" + struct.pack(">Q", 1 << 62),
    "a double that is no number": b"d" + struct.pack(">d", float("nan")),
    "an infinite double": b"d" + struct.pack(">d", float("inf")),
    "a kind that is none": b"?",
    "tables in tables without end": b"F" + struct.pack(">I", 1 << 20) + (b"\x01aF" + struct.pack(">I", 1 << 20)) * 5000,
}


def wire(value: bytes) -> bytes:
    """A frame with a message's properties, of which one header has this value."""
    table = b"\x03odd" + value
    properties = struct.pack(">H", spec.BasicProperties.FLAG_HEADERS) + struct.pack(">I", len(table)) + table
    payload = struct.pack(">HHQ", spec.BasicProperties.INDEX, 0, 2) + properties
    return struct.pack(">BHI", spec.FRAME_HEADER, 1, len(payload)) + payload + bytes([spec.FRAME_END])


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_headers_that_cannot_be_read_are_left_out_and_the_message_comes(name: str) -> None:
    read_any()
    size, read = frame.decode_frame(wire(ODD_HEADERS[name]))
    assert size == len(wire(ODD_HEADERS[name]))
    assert isinstance(read.properties, Properties)
    assert read.properties.headers is None


def test_headers_that_can_be_read_are() -> None:
    read_any()
    told = spec.BasicProperties(headers={"brigade-code": "X"}, delivery_mode=2)
    (_, read) = frame.decode_frame(frame.Header(1, 2, told).marshal())
    assert (read.properties.headers, read.properties.delivery_mode) == ({"brigade-code": "X"}, 2)
