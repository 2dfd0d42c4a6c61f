"""The private servers: closed to strangers, telling of every upload twice, and losing nothing when killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pika
import psycopg2
import pytest
from minio import Minio
from minio.error import S3Error
from minio.notificationconfig import NotificationConfig, QueueConfig
from pika.exceptions import AMQPConnectionError
from pymilvus import MilvusClient

from common.errors import ConfigurationError
from deploy.local.server import Server
from deploy.local.servers import LocalServers
from deploy.local.state import free_port, is_free
from tests.processes import LOOPBACK, descendants, listening_of, running, wait_until

pytestmark = pytest.mark.integration

_OWNER = """
import json, os, sys
from pathlib import Path
from threading import Event
from deploy.local.servers import LocalServers
with LocalServers(Path(sys.argv[1]), api_port=1, reuse=os.environ) as servers:
    print(json.dumps(servers.environment), flush=True)
    Event().wait()
"""


@dataclass
class Owner:
    process: subprocess.Popen[str]
    environment: dict[str, str]
    family: set[int]


@contextmanager
def running_in(directory: Path, **environment: str) -> Iterator[Owner]:
    """The servers of a directory, owned by another process, which leads its group as a shell's job does."""
    command = [sys.executable, "-W", "ignore", "-c", _OWNER, str(directory)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | environment
    ) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            yield Owner(process, told, descendants(process.pid))
        finally:
            process.kill()


def _minio(environment: Mapping[str, str], secret_key: str | None = None) -> Minio:
    return Minio(
        endpoint=environment["BRIGADE_S3_ENDPOINT"].removeprefix("http://"),
        access_key=environment["BRIGADE_S3_ACCESS_KEY"],
        secret_key=secret_key or environment["BRIGADE_S3_SECRET_KEY"],
        secure=False,
        region="us-east-1",
    )


def _write_everywhere(environment: Mapping[str, str]) -> None:
    with closing(psycopg2.connect(environment["BRIGADE_DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 'row' AS what")
        connection.commit()
    store = _minio(environment)
    store.make_bucket(bucket_name="kept")
    with closing(pika.BlockingConnection(pika.URLParameters(environment["BRIGADE_AMQP_URL"]))) as amqp:
        channel = amqp.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", "kept", b"message", pika.BasicProperties(delivery_mode=2), mandatory=True)
    with closing(MilvusClient(environment["BRIGADE_MILVUS_URI"])) as milvus:
        milvus.create_collection("kept", dimension=2)
        milvus.insert("kept", [{"id": 1, "vector": [1.0, 0.0]}])
    _put(store, "kept", "object")


def _read_everywhere(environment: Mapping[str, str]) -> list[Any]:
    with closing(psycopg2.connect(environment["BRIGADE_DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT what FROM kept")
        row = cursor.fetchone()
    with closing(_minio(environment).get_object(bucket_name="kept", object_name="object")) as answer:
        content = answer.read()
    with closing(pika.BlockingConnection(pika.URLParameters(environment["BRIGADE_AMQP_URL"]))) as amqp:
        message = amqp.channel().basic_get("kept")[2]
    with closing(MilvusClient(environment["BRIGADE_MILVUS_URI"])) as milvus:
        milvus.load_collection("kept")  # a restarted Milvus Lite has released it
        found = milvus.query("kept", ids=[1], output_fields=["id"])
    return [row, content, message, [dict(hit) for hit in found]]


def _each(servers: LocalServers) -> list[Server]:
    return [servers.postgres, servers.rabbitmq, servers.store, servers.milvus]


def _put(store: Minio, bucket: str, key: str) -> None:
    path = Path(__file__)
    store.fput_object(bucket_name=bucket, object_name=key, file_path=str(path))


_KEPT = [("row",), Path(__file__).read_bytes(), b"message", [{"id": 1}]]


def test_kill_9_of_the_whole_group_leaves_no_process_and_loses_no_data(tmp_path: Path) -> None:
    with running_in(tmp_path) as first:
        assert len(first.family) >= 8, "us, the guardian, four servers, RabbitMQ's two helpers at least"
        _write_everywhere(first.environment)
        os.killpg(first.process.pid, signal.SIGKILL)
        # At once, as a hasty user would: the new one waits for the guardian of the old one.
        with running_in(tmp_path) as second:
            assert not first.family & running().keys()
            assert second.environment == first.environment, "same ports, same secrets"
            assert _read_everywhere(second.environment) == _KEPT


def test_ctrl_c_ends_every_server_and_frees_every_port(tmp_path: Path) -> None:
    # The slow two are named as if they ran elsewhere: then they are not started.
    elsewhere = {"BRIGADE_AMQP_URL": "amqp://elsewhere/", "BRIGADE_MILVUS_URI": "http://elsewhere"}
    with running_in(tmp_path, **elsewhere) as owner:
        assert owner.environment | elsewhere == owner.environment
        os.killpg(owner.process.pid, signal.SIGINT)
        owner.process.wait(15)
    assert not owner.family & running().keys()
    assert is_free(int(owner.environment["BRIGADE_S3_ENDPOINT"].rpartition(":")[2]))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["postgres", "store"]


def test_a_second_start_in_the_same_directory_is_refused(servers: LocalServers) -> None:
    with pytest.raises(ConfigurationError, match="already running"):
        LocalServers(servers.directory, api_port=1).start()


@pytest.mark.parametrize("name", ["postgres", "rabbitmq", "store", "milvus"])
def test_each_server_comes_back_after_it_was_killed(servers: LocalServers, name: str) -> None:
    server: Server = getattr(servers, name)
    server.kill()
    assert is_free(server.port)
    server.start()
    server.check()


def test_the_keys_of_a_store_come_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"go together; only BRIGADE_S3_ENDPOINT is set"):
        LocalServers(tmp_path, api_port=1, reuse={"BRIGADE_S3_ENDPOINT": "http://elsewhere"}).start()


def test_a_forced_port_that_is_taken_starts_nothing(servers: LocalServers, tmp_path: Path) -> None:
    reuse = {"BRIGADE_S3_PORT": str(servers.store.port)}
    with pytest.raises(ConfigurationError, match="this port is taken"):
        LocalServers(tmp_path, api_port=1, reuse=reuse).start()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_servers_that_run_elsewhere_are_used_and_nothing_is_started(servers: LocalServers, tmp_path: Path) -> None:
    with LocalServers(tmp_path, api_port=1, reuse=servers.environment) as none:
        assert none.environment == servers.environment
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_strangers_are_turned_away(servers: LocalServers) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(servers.postgres.url.replace(servers.postgres.password, "guess"))
    for login in ("guest:guest", "brigade:guess"):
        with pytest.raises(AMQPConnectionError):
            pika.BlockingConnection(pika.URLParameters(f"amqp://{login}@127.0.0.1:{servers.rabbitmq.port}/%2F"))
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        _minio(servers.environment, "guess-guess").list_buckets()


def test_what_servers_keep_is_closed_to_other_users(servers: LocalServers) -> None:
    for name in ("postgres", "postgres/data", "rabbitmq", "store", "milvus"):
        assert (servers.directory / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_listens_beyond_this_machine(servers: LocalServers) -> None:
    listening = listening_of(*(server.pid or 0 for server in (*_each(servers), servers.rabbitmq.epmd)))
    assert len(listening) >= 6
    assert [address for address in listening if address not in LOOPBACK] == []


@contextmanager
def hearing(port: int) -> Iterator[Queue[tuple[str, Any]]]:
    """What the store posts to where the API will be: path and authorization, and the body."""
    heard: Queue[tuple[str, Any]] = Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            # The store knocks with an empty body to see whether somebody is there.
            if body:
                heard.put((f"{self.path} {self.headers['Authorization']}", json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Listener) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def _notify(store: Minio, bucket: str, *targets: str) -> None:
    store.make_bucket(bucket_name=bucket)
    rules = [
        QueueConfig(queue=f"arn:minio:sqs::{target}:webhook", events=["s3:ObjectCreated:Put"]) for target in targets
    ]

    def accepted() -> bool:
        try:
            store.set_bucket_notification(bucket_name=bucket, config=NotificationConfig(queue_config_list=rules))
        except S3Error as error:
            return bool(error.code != "InvalidArgument")  # it does not know its targets yet
        return True

    wait_until(accepted, seconds=10, what="the store knows its targets")


@pytest.fixture
def telling(servers: LocalServers, tmp_path: Path) -> Iterator[LocalServers]:
    """A store whose webhook comes to us: the session's may be heard by a running API."""
    elsewhere = ("BRIGADE_DATABASE_URL", "BRIGADE_AMQP_URL", "BRIGADE_MILVUS_URI")
    reuse = {name: servers.environment[name] for name in elsewhere}
    with LocalServers(tmp_path / "telling", api_port=free_port(), reuse=reuse) as telling:
        yield telling


def test_each_upload_is_told_twice_with_our_token(telling: LocalServers) -> None:
    store = _minio(telling.environment)
    _notify(store, "two-lanes", "FAST", "SAFE")
    with hearing(telling.api_port) as heard:
        _put(store, "two-lanes", "incoming/a b.txt")
        for _ in ("fast", "safe"):
            sender, body = heard.get(timeout=15)
            assert sender == f"/events/s3 Bearer {telling.environment['BRIGADE_EVENTS_TOKEN']}"
            assert body["Key"] == "two-lanes/incoming/a b.txt"


def test_the_safe_lane_tells_later_what_nobody_heard_even_if_the_store_was_killed(telling: LocalServers) -> None:
    store = _minio(telling.environment)
    _notify(store, "safe-lane", "SAFE")
    _put(store, "safe-lane", "incoming/unheard.txt")
    # The store answers a moment before the event is on its disk: what it promises begins there.
    kept = telling.store.directory / "notifications"
    wait_until(lambda: any(one.is_file() for one in kept.rglob("*")), seconds=15, what="the event is kept")
    telling.store.kill()
    telling.store.start()
    with hearing(telling.api_port) as heard:
        assert heard.get(timeout=15)[1]["Key"] == "safe-lane/incoming/unheard.txt"
