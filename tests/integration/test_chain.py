"""From an object's arrival to a search hit, on the real servers, by the store's real webhook."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pika
import pytest

from common import dead_letters
from common.context import Context, Target
from deploy.client import DeadLetter
from functions.ingest.remove import remove
from router import topology
from tests.integration.system import System, wait_for

ENGLISH = "# Fire\n\nA bucket brigade is a line of people who hand buckets of water along to a fire.\n"
CHINESE = "# 救火\n\n北宋的都城开封设有专门的救火队伍，叫做潜火队。\n"


def body(words: str = "") -> bytes:
    return (ENGLISH + "\n" + CHINESE + "\n" + words).encode()


def drop_key(name: str = "note.md") -> str:
    return f"incoming/{uuid4()}-drop/{name}"


def test_an_announced_upload_needs_nothing_but_the_put(worker: System) -> None:
    content = body()
    ticket = worker.client.announce("消防 notes.md", len(content), "text/markdown")
    assert worker.client.task(ticket.task_id).status == "PENDING"
    answer = httpx.put(ticket.url, content=content, headers=ticket.headers)
    assert answer.status_code == 200
    task = worker.ended(ticket.task_id)
    assert (task.status, task.overall_progress) == ("COMPLETED", 100)
    assert [(step.step_name, step.status) for step in task.task_details] == [
        (name, "COMPLETED")
        for name in ("UPLOAD", "VALIDATE", "EXTRACT_TEXT", "PREPROCESS", "SPLIT", "VECTORIZE", "STORE")
    ]
    questions = {"Who hands the water along?": "hand buckets of water", "开封的救火队伍叫什么？": "潜火队"}
    for query, said in questions.items():
        for mode in ("hybrid", "dense", "keyword"):
            hit = worker.found(query, ticket.document_id, mode)[0]
            assert (hit.document_name, hit.page, hit.version) == ("消防 notes.md", 1, 1)
            assert said in hit.text


@pytest.mark.parametrize(
    "name", ["plain.txt", "a+b c&d=e%20.txt", "中 文＋档.txt", "x" * 200 + "/" + "长" * 80 + "/" + "y" * 180 + ".txt"]
)
def test_an_object_dropped_under_any_key_is_ingested_without_a_call(worker: System, name: str) -> None:
    key = drop_key(name)
    task = worker.ingest(key, body())
    assert task.status == "COMPLETED"
    document = worker.http.get(f"/v1/documents/{task.document_id}").json()
    assert (document["object_key"], document["name"]) == (key, name.rpartition("/")[2])


def test_a_key_of_1024_bytes_is_ingested(worker: System) -> None:
    prefix = drop_key("")
    key = prefix + "/".join(["k" * 200] * 10)
    key = key[:1020] + ".txt"
    assert len(key) == 1024
    assert worker.ingest(key, body()).status == "COMPLETED"


def test_what_lies_outside_incoming_is_nobodys(worker: System) -> None:
    key = f"elsewhere/{uuid4()}.txt"
    worker.put(key, body())
    assert worker.ingest(drop_key(), body()).status == "COMPLETED"  # that came later and is through
    assert worker.tasks_of(key) == []


def amqp_event(bucket: str, key: str, etag: str, size: int, sequencer: str) -> bytes:
    event = json.loads((Path(__file__).parents[1] / "unit/notifications/minio-webhook-put.json").read_bytes())
    event["Records"][0]["s3"]["bucket"]["name"] = bucket
    event["Records"][0]["s3"]["object"] = {"key": key, "size": size, "eTag": etag, "sequencer": sequencer}
    return json.dumps(event).encode()


def publish_as_minio(system: System, *bodies: bytes) -> None:
    """As MinIO's AMQP target does it: it declares the exchange itself, without arguments, before it publishes."""
    with pika.BlockingConnection(pika.URLParameters(system.environment["BRIGADE_AMQP_URL"])) as connection:
        channel = connection.channel()
        for one in bodies:
            channel.exchange_declare("s3.notifications", "topic", durable=True)
            channel.basic_publish("s3.notifications", "bucketlogs", one)


def test_the_amqp_road_gives_the_same_result(worker: System) -> None:
    bucket = f"amqp-{uuid4()}"
    worker.services.objects.admin.create_bucket(Bucket=bucket)  # no rule on it: its webhook tells nothing
    key = drop_key()
    etag = worker.put(key, body(), bucket=bucket)
    publish_as_minio(worker, *[amqp_event(bucket, key.replace("/", "%2F"), etag, len(body()), "18EA4718197B4809")] * 3)
    task = worker.ended(worker.task_of(key))
    assert task.status == "COMPLETED"
    assert worker.tasks_of(key) == [task.task_id]
    assert worker.found("bucket brigade", str(task.document_id))


def test_the_same_event_on_both_roads_often_and_late_is_done_once(worker: System) -> None:
    key = drop_key()
    task = worker.ingest(key, body())
    (seen,) = worker.sql("SELECT sequencer FROM events_seen WHERE object_key = :key", key=key)
    (version,) = worker.sql("SELECT etag FROM document_versions WHERE document_id = :id", id=task.document_id)
    again = amqp_event(worker.settings.bucket, key, version.etag, len(body()), seen.sequencer.lstrip("0"))
    publish_as_minio(worker, again, again)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: webhook(worker, again), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    marker = worker.ingest(drop_key(), body())  # behind all of them in the queue
    assert marker.status == "COMPLETED"
    assert worker.tasks_of(key) == [task.task_id]
    assert len(worker.rows_of(str(task.document_id))) == len(set(worker.rows_of(str(task.document_id)))) == 2


def test_overwriting_makes_a_version_and_search_shows_only_that(worker: System) -> None:
    key = drop_key()
    first = worker.ingest(key, body("The old words speak of zebras."))
    worker.put(key, body("The new words speak of giraffes."))
    second = worker.ended(worker.task_of(key, 1))
    assert second.status == "COMPLETED"
    assert second.document_id == first.document_id
    hits = worker.found("giraffes", str(second.document_id), "keyword")
    assert {hit.version for hit in hits} == {2}
    assert worker.found("zebras", str(second.document_id), "keyword") == []
    # In the end the old version's vectors are gone too, not only out of sight.
    new = [f"{second.document_id}:2:{chunk}" for chunk in range(2)]
    wait_for(lambda: worker.rows_of(str(second.document_id)) == new, "the old rows go")


def test_an_object_overwritten_while_it_is_processed_ends_as_its_newest_version(worker: System) -> None:
    key = drop_key()
    for number in range(5):
        etag = worker.put(key, body(f"This is what version {number} says."))
    query = "SELECT task_id FROM document_versions WHERE etag = :etag"
    ((newest,),) = wait_for(lambda: worker.sql(query, etag=etag), "the last version is known")
    task = worker.ended(newest)
    assert task.status == "COMPLETED"
    assert worker.tasks_of(key)[-1] == newest
    others = [worker.client.task(one) for one in worker.tasks_of(key)[:-1]]
    assert all(other.status in ("COMPLETED", "CANCELLED") for other in others)
    ended = [other.reason for other in others if other.status == "CANCELLED"]
    assert all("newer version" in reason or "Superseded" in reason for reason in ended)
    assert "version 4" in worker.found("what version says", str(task.document_id))[0].text


def test_deleting_the_object_deletes_the_document_with_its_vectors(worker: System) -> None:
    key = drop_key()
    task = worker.ingest(key, body())
    document = str(task.document_id)
    worker.remove(key)
    wait_for(lambda: worker.http.get(f"/v1/documents/{document}").status_code == 404, "the document is gone")
    wait_for(lambda: not worker.sql("SELECT 1 FROM documents WHERE id = :id", id=document), "its rows are gone")
    assert worker.rows_of(document) == []
    assert worker.found("bucket brigade", document) == []
    left = worker.services.objects.admin.list_objects_v2(
        Bucket=worker.settings.bucket, Prefix=f"artifacts/{task.task_id}/"
    )
    assert left["KeyCount"] == 0
    # A second run, as after a worker's death, finds nothing and is content.
    remove(Context(Target("again", document, 1, "", "", "", "", ""), worker.services))


def test_the_same_bytes_put_again_are_not_embedded_again(worker: System) -> None:
    key = drop_key()
    task = worker.ingest(key, body())
    worker.put(key, body())
    assert worker.ingest(drop_key(), body()).status == "COMPLETED"
    assert worker.tasks_of(key) == [task.task_id]


def webhook(system: System, content: bytes, token: str | None = None) -> httpx.Response:
    token = system.environment["BRIGADE_EVENTS_TOKEN"] if token is None else token
    return httpx.post(
        f"{system.url}/events/s3", content=content, headers={b"Authorization": f"Bearer {token}".encode()}
    )


def letter_of(system: System, content: bytes) -> DeadLetter | None:
    """The dead letter that holds this."""
    known = dead_letters.id_of(topology.NOTIFICATIONS, content)
    return next((one for one in system.client.dead_letters.list() if one.id == known), None)


def died(system: System, content: bytes) -> int:
    """How often that has died."""
    letter = letter_of(system, content)
    return letter.times if letter else 0


@pytest.mark.parametrize("token", ["wrong", "Bearer", "é"])
def test_a_webhook_with_a_wrong_token_is_refused(worker: System, token: str) -> None:
    answer = webhook(worker, amqp_event("b", "incoming/a", "e", 1, "1"), token)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "content",
    [
        b"{broken",
        b'{"Records": []}',
        b"{}",
        amqp_event("b", "incoming/a", "e", 1, "1").replace(b"ObjectCreated:Put", b"Odd:Thing"),
    ],
)
def test_a_notification_that_makes_no_sense_is_kept_and_blocks_nothing(worker: System, content: bytes) -> None:
    before = died(worker, content)
    answer = webhook(worker, content)
    assert answer.status_code == 200  # else the store would repeat it for ever, and hold back all behind it
    wait_for(lambda: died(worker, content) == before + 1, "it is kept")
    publish_as_minio(worker, content)
    wait_for(lambda: died(worker, content) == before + 2, "it is kept on the other road too")
    letter = letter_of(worker, content)
    assert letter
    assert (letter.code, letter.state) == ("INVALID_EVENT", "open")
    assert worker.ingest(drop_key(), body()).status == "COMPLETED"


def test_a_presigned_url_takes_exactly_what_was_announced(worker: System) -> None:
    ticket = worker.client.announce("a.txt", 10, "text/plain")
    too_much = httpx.put(ticket.url, content=b"x" * 11, headers=ticket.headers | {"Content-Length": "11"})
    another_type = httpx.put(ticket.url, content=b"x" * 10, headers=ticket.headers | {"Content-Type": "text/html"})
    assert (too_much.status_code, another_type.status_code) == (403, 403)
    assert httpx.put(ticket.url, content=b"x" * 10, headers=ticket.headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/v1/tasks/x", {"headers": {"X-API-Key": ""}}, 401, "UNAUTHENTICATED"),
        ("GET", "/v1/tasks/x", {"headers": {"X-API-Key": "bb_" + "x" * 43}}, 401, "UNAUTHENTICATED"),
        ("POST", "/v1/search", {"headers": {"X-API-Key": ""}, "json": {"query": "a"}}, 401, "UNAUTHENTICATED"),
        ("GET", "/v1/tasks/no-such-task", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/documents/no-such-document", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/nothing", {}, 404, "NOT_FOUND"),
        ("DELETE", "/v1/search", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/uploads", {"content": b"{"}, 400, "INVALID_BODY"),
        ("POST", "/v1/uploads", {"json": {"filename": "a", "size": -1}}, 400, "INVALID_BODY"),
        ("POST", "/v1/uploads", {"json": {"filename": "..", "size": 1}}, 400, "INVALID_FILENAME"),
        ("POST", "/v1/uploads", {"json": {"filename": "a", "size": 2**40}}, 413, "TOO_LARGE"),
        ("POST", "/v1/uploads", {"json": {"filename": "a", "size": 1, "knowledge_base_id": "none"}}, 404, "NOT_FOUND"),
        ("POST", "/v1/search", {"content": b"x" * (2 << 20)}, 413, "TOO_LARGE"),
        ("POST", "/v1/search", {"json": {"query": "a", "top_k": 1000}}, 400, "INVALID_BODY"),
        ("POST", "/v1/search", {"json": {"query": "a", "document_ids": ['" or 1 == 1']}}, 400, "INVALID_BODY"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_shape(
    worker: System, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    answer = worker.http.request(method, path, **options)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"].keys() == {"code", "message", "timestamp", "details"}


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1", "/api"])
def test_the_same_routes_are_under_every_prefix(worker: System, prefix: str) -> None:
    assert worker.http.post(f"{prefix}/search", json={"query": "water"}).status_code == 200


def test_health_and_metrics_need_no_key_and_tell_what_is_there(worker: System) -> None:
    assert httpx.get(f"{worker.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{worker.url}/readyz").json()
    assert ready == {"status": "ready", "checks": dict.fromkeys(("postgres", "rabbitmq", "store", "milvus"), "ok")}
    assert "brigade_notifications_total" in httpx.get(f"{worker.url}/metrics").text
