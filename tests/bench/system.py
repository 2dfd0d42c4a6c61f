"""The system under test: private servers in a temporary directory, and `brigade` api, worker, scheduler beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pika
from sqlalchemy import text

from common import api_keys
from common.db import Database
from common.errors import BrigadeError, Unavailable
from common.objects import ObjectStore
from common.settings import Settings
from deploy.client import Client
from deploy.local.guardian import signal_group
from deploy.local.servers import LocalServers
from deploy.local.state import free_port, is_free
from deploy.local.supervisor import how, tail
from router import topology
from tests.bench.processes import Watch

_BRIGADE = (sys.executable, "-m", "deploy.cli")
_APPLICATIONS = ("api", "worker", "scheduler")
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.25
# Enough for the store; more would only take CPU from what is measured.
_PUTS_AT_ONCE = 4
# The safe lane tells everything again within 3 s, and a worker may have to sort it out first.
_DRAIN_SECONDS = 60.0


class BenchFailed(BrigadeError):
    """The system did not do what was to be measured."""

    code = "BENCH_FAILED"


@dataclass(frozen=True, slots=True)
class Run:
    """One batch of documents through the chain. `seconds`: from the first PUT sent to the last task COMPLETED."""

    documents: int
    seconds: float
    statuses: dict[str, int]


class System:
    """Started with `with`; ended, with its data, at the end of it. `say`: hears what is going on."""

    settings: Settings
    database: Database
    objects: ObjectStore
    client: Client
    servers: LocalServers

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._batches = 0

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self.directory = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="brigade-bench-")))
            self._start(started)
            self._started = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def _start(self, started: ExitStack) -> None:
        began = time.monotonic()
        self.servers = started.enter_context(LocalServers(self.directory, api_port=free_port()))
        model_dir = Path(os.environ.get("BRIGADE_MODEL_DIR", "var/models/multilingual-e5-small")).resolve()
        ours = self.servers.environment | {
            "BRIGADE_URL": f"http://127.0.0.1:{self.servers.api_port}",
            "BRIGADE_API_PORT": str(self.servers.api_port),
            "BRIGADE_API_KEY": api_keys.new_key(),
            "BRIGADE_MODEL_DIR": str(model_dir),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        # Defaults are measured, whatever is set in this terminal.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRIGADE_")}
        self._environment = inherited | ours
        self.settings = Settings.model_validate({_field(name): value for name, value in ours.items()})
        started.callback(self._stop)
        if self._spawn("migrate").wait():
            raise self._failure("migrate")
        for name in _APPLICATIONS:
            self._spawn(name)
        self.database = Database(self.settings, connections=2)
        started.callback(self.database.close)
        self.objects = ObjectStore(self.settings)
        self.client = started.enter_context(Client(self.settings.url, self.settings.api_key.get_secret_value()))
        self._await_ready()
        self._say(f"a system of its own is up ({time.monotonic() - began:.0f} s)")

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        log = self.directory / f"{name}.log"
        process = self.servers.guardian.spawn([*_BRIGADE, name], log=log, env=self._environment)
        self._processes[name] = process
        return process

    @contextmanager
    def beside(self, module: str, port: int) -> Iterator[None]:
        """Another server over the same database, to compare with: `python -m module`, on `port` of 127.0.0.1."""
        environment = self._environment | {"BRIGADE_API_PORT": str(port)}
        log = self.directory / f"{module}.log"
        process = self.servers.guardian.spawn([sys.executable, "-m", module], log=log, env=environment)
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while is_free(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchFailed(f"{module} does not start. The end of its log:\n{tail(log)}")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            self._end([process])

    def _stop(self) -> None:
        self._end(list(self._processes.values()))

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Ask all to end; end those that do not."""
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                signal_group(process.pid, signal.SIGKILL)
                process.wait()
            self.servers.guardian.release(process.pid)

    def check(self) -> None:
        """Raise `BenchFailed` if a process of ours has ended: figures without it mean nothing."""
        for name in _APPLICATIONS:
            if self._processes[name].poll() is not None:
                raise self._failure(name)

    def _failure(self, name: str) -> BenchFailed:
        log = self.directory / f"{name}.log"
        return BenchFailed(f"{name} {how(self._processes[name].wait())}. The end of its log:\n{tail(log)}")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                # The API is ready once its model is; a worker consumes once its own is.
                if self.client.readiness().ready and self._consumers() > 0:
                    return
            except Unavailable:
                pass
            time.sleep(_POLL_SECONDS)
        raise BenchFailed(f"The system is not ready after {_READY_SECONDS:.0f} s; see {self.directory}.")

    def watch(self) -> Watch:
        """What each part uses until the end of the `with`."""
        servers = (self.servers.postgres, self.servers.store, self.servers.rabbitmq, self.servers.milvus)
        roots = {name: self._processes[name].pid for name in _APPLICATIONS}
        roots |= {server.name.lower(): server.pid for server in servers if server.pid}
        return Watch(roots)

    def ingest(self, documents: Sequence[bytes], suffix: str = ".pdf") -> Run:
        """Drop documents straight into the bucket, and wait until every task has ended.

        Raises `BenchFailed` unless all are COMPLETED.
        """
        self._batches += 1
        keys = [f"incoming/bench/{self._batches}/{number:05}{suffix}" for number in range(len(documents))]
        began = time.time()
        with ThreadPoolExecutor(_PUTS_AT_ONCE) as threads:
            list(threads.map(self.put, keys, documents))
        statuses, completed = self.await_ended(keys)
        if statuses != {"COMPLETED": len(keys)}:
            raise BenchFailed(f"Of {len(keys)} documents not all are COMPLETED: {statuses}. {self._reason()}")
        return Run(len(keys), completed - began, statuses)

    def put(self, key: str, data: bytes) -> None:
        self.objects.admin.put_object(Bucket=self.settings.bucket, Key=key, Body=data)

    def await_ended(self, keys: Sequence[str]) -> tuple[dict[str, int], float]:
        """How many tasks of these keys ended how, and when the last did (seconds since the epoch)."""
        while True:
            self.check()
            rows = self.query(
                """
                SELECT task.status, count(*), extract(epoch FROM max(task.completed_at)) ::float AS last
                FROM documents AS document JOIN tasks AS task ON task.document_id = document.id
                WHERE document.bucket_name = :bucket AND document.object_key = ANY(:keys)
                GROUP BY task.status
                """,
                bucket=self.settings.bucket,
                keys=list(keys),
            )
            ended = {row.status: row.count for row in rows if row.last is not None}
            if sum(ended.values()) >= len(keys) and len(ended) == len(rows):
                return ended, max(row.last for row in rows)
            time.sleep(_POLL_SECONDS)

    def query(self, sql: str, **parameters: Any) -> Sequence[Any]:
        with self.database.transaction() as connection:
            return connection.execute(text(sql), parameters).all()

    def _reason(self) -> str:
        rows = self.query("SELECT DISTINCT error_message FROM tasks WHERE status = 'FAILED' LIMIT 3")
        return " ".join(str(row.error_message) for row in rows)

    def drain(self) -> dict[str, int]:
        """The depth of every queue, by passive declare, once nothing moves or after a minute."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while True:
            depths = self.depths(topology.queue_names())
            if not any(depths.values()) or time.monotonic() > deadline:
                return depths
            time.sleep(_POLL_SECONDS)

    def depths(self, queues: Iterable[str]) -> dict[str, int]:
        return {name: count for name, (count, _) in self._declared(queues).items()}

    def _consumers(self) -> int:
        return min(consumers for _, consumers in self._declared([topology.NOTIFICATIONS]).values())

    def _declared(self, queues: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Messages and consumers of each queue."""
        url = self.settings.amqp_url.get_secret_value()
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            answers = {name: channel.queue_declare(name, passive=True).method for name in queues}
        return {name: (cast(int, one.message_count), cast(int, one.consumer_count)) for name, one in answers.items()}


def _field(name: str) -> str:
    return name.removeprefix("BRIGADE_").lower()
