"""Messages that would stop a lesser system: each ends as a letter that says why, and what is behind it goes through."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pika
import pytest

from common.dead_letters import id_of
from deploy.client import DeadLetter, WholeDeadLetter
from router import topology
from tests.integration.system import System, wait_for
from tests.integration.test_chain import amqp_event

pytestmark = pytest.mark.integration

GOOD = b"The next document in line, which is a good one."


def nested(levels: int) -> bytes:
    """A table within a table within a table, on the wire."""
    table = b""
    for _ in range(levels):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return b"F" + struct.pack(">I", len(table)) + table


# What RabbitMQ takes and pika cannot read: a time after the year 9999, tables that are nested deeply.
ODD = {b"time": b"T" + struct.pack(">Q", 1 << 62), b"tables": nested(3000)}


class OddProperties(pika.BasicProperties):  # type: ignore[misc] # pika has no types for it
    """A message's properties, of which one header has this value on the wire."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self._table = b"\x03odd" + value

    def encode(self) -> list[bytes]:
        return [struct.pack(">HI", self.FLAG_HEADERS, len(self._table)), self._table]


def publish(system: System, queue: str, *bodies: bytes, properties: pika.BasicProperties | None = None) -> None:
    """Straight into a queue, as anybody may who has RabbitMQ's password."""
    with pika.BlockingConnection(pika.URLParameters(system.environment["BRIGADE_AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # or what a channel still holds when it is closed is lost
        for body in bodies:
            channel.basic_publish("", queue, body, properties)


def kept(system: System, queue: str, body: bytes) -> WholeDeadLetter:
    def look() -> WholeDeadLetter | None:
        answer = system.http.get(f"/v1/dead-letters/{id_of(queue, body)}")
        return None if answer.status_code == 404 else system.client.dead_letters.get(id_of(queue, body))

    return wait_for(look, f"a letter of {queue}")


def the_next_goes_through(system: System) -> None:
    assert system.ingest(f"incoming/{uuid4()}/good.txt", GOOD).status == "COMPLETED"


def test_what_no_worker_survives_is_given_up_by_rabbitmq_and_told(system: System) -> None:
    queue, body = topology.step_queue("REMOVE"), json.dumps({"poison": str(uuid4())}).encode()
    publish(system, queue, body)
    with pika.BlockingConnection(pika.URLParameters(system.environment["BRIGADE_AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        for method, _, _ in channel.consume(queue, inactivity_timeout=2):
            if method is None:
                break
            channel.basic_reject(method.delivery_tag, requeue=True)  # as when its connection is lost
    letter = kept(system, queue, body)
    assert (letter.code, letter.state, letter.queue) == ("DELIVERY_LIMIT", "open", queue)
    assert "50 times" in letter.reason


def test_a_document_that_kills_its_worker_fails_as_that_and_can_be_sent_again(system: System, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    key = f"incoming/{uuid4()}/deadly.txt"
    with system.worker(BRIGADE_FAILPOINTS=f"after_claim:SPLIT={flag}", BRIGADE_MAX_ATTEMPTS="1"):
        system.put(key, GOOD)
        wait_for(lambda: not flag.exists(), "the worker is killed")
        the_next_goes_through(system)
        task = system.ended(system.task_of(key))
        assert (task.status, task.error_code) == ("FAILED", "WORKER_DIED")
        (letter,) = system.client.dead_letters.list(task_id=task.task_id)
        assert (letter.code, letter.step_name, letter.document_name) == ("WORKER_DIED", "SPLIT", "deadly.txt")
        whole = system.client.dead_letters.get(letter.id)
        assert (whole.input.kind, whole.input.step_name) == ("artifact", "PREPROCESS")
        assert system.client.dead_letters.redrive(letter.id).redriven == 1
        wait_for(lambda: system.client.task(task.task_id).status == "COMPLETED", "its document is processed after all")
    assert system.client.dead_letters.get(letter.id).state == "resolved"
    again = system.client.dead_letters.redrive(letter.id)
    assert (again.redriven, [one.code for one in again.skipped]) == (0, ["RESOLVED"])


def test_garbage_straight_into_any_queue_is_kept_and_blocks_nothing(worker: System) -> None:
    tag = str(uuid4()).encode()
    plain = [tag, b"\xff\x00" + tag, b"[" * 50_000 + tag, b'{"' + tag + b'": 1}', b"x" * (2 << 20) + tag]
    odd = [tag + name for name in ODD]
    queues = [topology.NOTIFICATIONS, *map(topology.step_queue, topology.step_names())]
    for queue in queues:
        publish(worker, queue, *plain)
        for name, value in ODD.items():
            publish(worker, queue, tag + name, properties=OddProperties(value))
    the_next_goes_through(worker)
    for queue in queues:
        sent = {id_of(queue, body) for body in plain + odd}

        def found(queue: str = queue, sent: set[str] = sent) -> list[DeadLetter]:
            told = [one for one in worker.client.dead_letters.list(queue=queue, state="open") if one.id in sent]
            return told if len(told) == len(sent) else []

        assert {one.code for one in wait_for(found, f"letters of {queue}")} <= {"INVALID_EVENT", "INVALID_MESSAGE"}


def test_garbage_among_the_dead_themselves_is_kept_as_well(worker: System) -> None:
    headers = {"brigade-code": 7, "brigade-died-at": "never", "brigade-queue": "\0", "x-death": "often"}
    for properties in (*map(OddProperties, ODD.values()), pika.BasicProperties(headers=headers)):
        body = str(uuid4()).encode()
        publish(worker, topology.DEAD, body, properties=properties)
        letter = kept(worker, "", body)
        assert (letter.code, letter.queue) == ("UNKNOWN", "")
        refused = worker.client.dead_letters.redrive(letter.id)
        assert [one.code for one in refused.skipped] == ["UNKNOWN_QUEUE"]
        worker.client.dead_letters.forget(letter.id)
    the_next_goes_through(worker)


def event(key: str) -> bytes:
    return amqp_event("b", key, "e", 1, "1")


@pytest.mark.parametrize(
    "made",
    [
        lambda tag: tag + b"\xff rubbish",
        lambda tag: b'{"Records": ["' + b"x" * 1_000_000 + tag + b'"]}',
        lambda tag: b'{"Records": ' + b"[" * 100_000 + b"]" * 100_000 + b', "x": "' + tag + b'"}',
        lambda tag: event("incoming/" + "k" * 2000 + tag.decode()),
        lambda tag: event("incoming/%FF%00" + tag.decode()),
        lambda tag: event("incoming/" + tag.decode() + "%00"),
    ],
    ids=["rubbish", "huge", "nested", "a long key", "a key that is no text", "a key with a NUL"],
)
def test_a_broken_notification_is_answered_200_and_kept_and_the_next_goes_through(
    worker: System, made: Callable[[bytes], bytes]
) -> None:
    body = made(str(uuid4()).encode())
    token = worker.environment["BRIGADE_EVENTS_TOKEN"]
    answer = httpx.post(f"{worker.url}/events/s3", content=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    letter = kept(worker, topology.NOTIFICATIONS, body)
    assert (letter.code, letter.state, letter.complete) == ("INVALID_EVENT", "open", True)
    assert worker.client.dead_letters.redrive(letter.id).redriven == 1
    # It comes to the same again; and what comes behind it is taken in.
    wait_for(lambda: worker.client.dead_letters.get(letter.id).times == 2, "it died again")
    assert worker.client.dead_letters.get(letter.id).state == "open"
    the_next_goes_through(worker)
