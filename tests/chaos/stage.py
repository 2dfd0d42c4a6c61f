"""Where it all happens: real servers, a network before each that can be broken, our processes, and the courier."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pika
from pika.exceptions import AMQPError
from pymilvus import MilvusClient

from common.errors import Unavailable
from deploy.local.server import Server
from deploy.local.servers import LocalServers
from deploy.local.state import free_port
from deploy.migrate import prepare
from router import topology
from router.broker import nodes_of
from tests.chaos.cluster import Cluster
from tests.chaos.courier import Courier
from tests.chaos.failpoints import Flags
from tests.chaos.process import Process
from tests.chaos.proxy import Network, Proxy
from tests.integration.system import System, wait_for

SERVERS = ("postgres", "store", "rabbitmq", "milvus")
WORKERS = ("worker-1", "worker-2")

_DISK_BYTES = 8 << 20

# What is different from how users run it: everything that waits for a time waits for a short one, so that a round
# takes a minute; nothing is given up on because of faults that we made; and chunks are small, so that small documents
# have many.
SETTINGS = {
    "BRIGADE_SERVER_TIMEOUT_SECONDS": "3",
    "BRIGADE_LEASE_SECONDS": "3",
    "BRIGADE_OUTBOX_SECONDS": "1",
    "BRIGADE_VANISHED_SECONDS": "4",
    "BRIGADE_LOST_SECONDS": "30",
    "BRIGADE_MAX_ATTEMPTS": "40",
    "BRIGADE_SWEEP_SECONDS": "4",
    "BRIGADE_SWEEP_QUICK_SECONDS": "4",
    "BRIGADE_SWEEP_GRACE_SECONDS": "4",
    "BRIGADE_CHUNK_TOKENS": "32",
    "BRIGADE_CHUNK_OVERLAP_TOKENS": "0",
    "BRIGADE_INLINE_ARTIFACT_BYTES": "4096",
    "BRIGADE_LOG_FORMAT": "json",
}


class Stage:
    """`sabotage`: the protection that our processes do without. `cluster`: instead of a single RabbitMQ."""

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        sabotage: str = "",
        workers: int = 2,
        settings: Mapping[str, str] = {},
        cluster: Cluster | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self._sabotage = sabotage
        self._workers = WORKERS[:workers]
        self._settings = settings
        self.cluster = cluster
        self._open = ExitStack()
        self.flags = Flags(directory / "flags")
        self.deaths: list[str] = []  # the failpoints at which somebody died
        self.processes: dict[str, Process] = {}
        self.proxies: dict[str, Proxy] = {}

    def __enter__(self) -> Self:
        with self._open:
            self._start()
            self._open = self._open.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        reuse = {"BRIGADE_AMQP_URL": self.cluster.url} if self.cluster else {}
        self.servers = LocalServers(self.directory / "servers", api_port=free_port(), reuse=reuse)
        self.servers.start()
        self._open.callback(self.servers.stop)
        network = Network()
        self._open.callback(network.close)
        self.proxies = {name: network.proxy(self.server(name).port) for name in SERVERS if self.has(name)}
        self.system = System(
            self.servers, self.directory, api_port=free_port(), settings={**SETTINGS, **self._settings}
        )
        self._open.callback(self.system.close)
        self._open.callback(self._close_milvus)
        api_port = self.system.settings.api_port
        token = self.servers.environment["BRIGADE_EVENTS_TOKEN"]
        self.courier = Courier(self.servers.api_port, api_port, token, self.seed)
        self._open.callback(self.courier.close)
        prepare(self.system.settings)
        self._start_processes()

    def _start_processes(self) -> None:
        environment = self.environment()
        for name in ("api", "scheduler", *self._workers):
            command = name.split("-")[0]
            process = Process(
                name,
                command,
                environment | ({"BRIGADE_WORK_DIR": str(self.work_dir)} if name == "worker-1" else {}),
                self.directory / "logs",
                self.servers.guardian,
                sabotage=self._sabotage,
            )
            self.processes[name] = process
            self._open.callback(process.stop)
            process.start()
        wait_for(self.ready, "the API is ready", 120)

    def has(self, name: str) -> bool:
        """Whether this server is one of ours to break."""
        return hasattr(self.servers, name)

    def server(self, name: str) -> Server:
        found: Server = getattr(self.servers, name)
        return found

    def environment(self) -> dict[str, str]:
        """Our processes': each server behind its proxy."""
        direct = dict(self.system.environment)
        urls = ("BRIGADE_DATABASE_URL", "BRIGADE_S3_ENDPOINT", "BRIGADE_AMQP_URL", "BRIGADE_MILVUS_URI")
        for server, variable in zip(SERVERS, urls, strict=True):
            if self.has(server):
                real, broken = self.server(server).port, self.proxies[server].port
                direct[variable] = direct[variable].replace(f":{real}", f":{broken}")
        return direct | {"BRIGADE_FAILPOINTS": self.flags.spec}

    @cached_property
    def work_dir(self) -> Path:
        """Worker 1's, a small disk of its own where that can be had, so that it may be full and no other."""
        made = self.directory / "work"
        made.mkdir()
        if _as_root("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(made)):
            self._open.callback(_as_root, "umount", "-l", str(made))
        return made

    def ready(self) -> bool:
        try:
            return self.system.client.readiness().ready
        except Unavailable:
            return False

    @property
    def workers(self) -> list[Process]:
        return [self.processes[name] for name in self._workers]

    # What the oracle asks.

    def queues(self) -> dict[str, int]:
        """How many messages each queue holds; raises `Unavailable` while RabbitMQ is away."""
        try:
            with pika.BlockingConnection(self._broker_parameters()) as connection:
                channel = connection.channel()
                return {
                    name: channel.queue_declare(name, passive=True).method.message_count
                    for name in topology.queue_names()
                }
        except (AMQPError, OSError) as error:
            raise Unavailable(f"RabbitMQ: {error!r}", server="rabbitmq") from error

    def purge(self) -> None:
        """What an operator does by mistake: every queue emptied, the ladder's too."""
        with pika.BlockingConnection(self._broker_parameters()) as connection:
            channel = connection.channel()
            for name in topology.queue_names():
                channel.queue_purge(name)

    def _broker_parameters(self) -> list[Any]:
        return nodes_of(self.system.settings.amqp_url.get_secret_value(), timeout_seconds=10)

    def vectors(self) -> list[dict[str, Any]]:
        """Every row of the collection: id, document_id, version, text."""
        collection = self.system.services.index.name
        fields = ["id", "document_id", "passage", "skip"]
        found: list[dict[str, Any]] = []
        # The lock that writers hold: a read that overlaps a flush can miss rows.
        with self.system.services.database.exclusive(f"milvus:{collection}"):
            self._milvus.load_collection(collection)
            pages = self._milvus.query_iterator(collection, filter='id != ""', output_fields=fields, batch_size=1000)
            while page := pages.next():
                found += ({**row, "text": row["passage"][row["skip"] :]} for row in page)
            pages.close()
        return found

    @cached_property
    def _milvus(self) -> MilvusClient:
        return MilvusClient(self.servers.milvus.uri, timeout=30)

    def _close_milvus(self) -> None:
        if "_milvus" in self.__dict__:
            self._milvus.close()

    def log_files(self, kind: str) -> list[Path]:
        """The logs of all processes whose name begins so, of every start."""
        return [log for name, process in self.processes.items() if name.startswith(kind) for log in process.logs]


def _as_root(*command: str) -> bool:
    """Whether it was done: containers may not even let root."""
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
