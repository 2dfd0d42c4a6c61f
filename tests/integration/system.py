"""The whole system as its users have it: API, scheduler and workers as processes, over the session's real servers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg2
from sqlalchemy import text

from common.api_keys import new_key
from common.errors import Unavailable
from common.services import Services
from common.settings import Settings
from deploy.client import Client, Hit, Task
from deploy.local.servers import LocalServers
from deploy.local.state import free_port
from deploy.local.supervisor import Supervisor
from deploy.migrate import prepare

T = TypeVar("T")

_BRIGADE = (sys.executable, "-m", "deploy.cli")


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """What `condition` returns soon after it is true."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        found = condition()
        if found:
            return found
        # To ask fifty times a second takes half a core from what is waited for.
        time.sleep(min(0.02 + waited / 10, 0.2))
    raise AssertionError(f"Not within {seconds:g} s: {what}")


class System:
    def __init__(
        self, servers: LocalServers, directory: Path, *, api_port: int = 0, settings: Mapping[str, str] = {}
    ) -> None:
        """`api_port`: the API's own, if the store's webhook leads elsewhere. `settings`: more of them."""
        self._servers = servers
        self._directory = directory
        api_port = api_port or servers.api_port
        self.url = f"http://127.0.0.1:{api_port}"
        self.key = new_key()
        self.environment: Mapping[str, str] = servers.environment | {
            "BRIGADE_DATABASE_URL": _own_database(servers.postgres.url),
            "BRIGADE_COLLECTION": "system",
            "BRIGADE_URL": self.url,
            "BRIGADE_API_KEY": self.key,
            "BRIGADE_API_PORT": str(api_port),
            # From wherever a test runs a command.
            "BRIGADE_MODEL_DIR": str(Settings().model_dir.resolve()),
            # All of the tests' people live at one address.
            "BRIGADE_LOGINS_PER_MINUTE": "0",
            "BRIGADE_FAILURES_PER_MINUTE": "0",
            "BRIGADE_LEASE_SECONDS": "3",
            "BRIGADE_OUTBOX_SECONDS": "1",
            "BRIGADE_TIDY_SECONDS": "1",
            "BRIGADE_EXPIRE_SECONDS": "1",
            "BRIGADE_REINDEX_SECONDS": "0.5",
            "BRIGADE_UPLOAD_PART_BYTES": str(5 << 20),
            "BRIGADE_INDEX_FLUSH_SECONDS": "1",
            **settings,
        }
        names = {name.removeprefix("BRIGADE_").lower(): value for name, value in self.environment.items()}
        self.settings = Settings.model_validate(names)
        self.services = Services(self.settings)
        self.client = Client(self.url, self.key)
        self.http = httpx.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=30)

    @contextmanager
    def running(self) -> Iterator[None]:
        """API and scheduler. Nothing works yet: see `worker`."""
        prepare(self.settings)  # as `brigade migrate`, which test_up.py runs
        with self._processes("front") as front:
            for name in ("api", "scheduler"):
                front.start(name, [*_BRIGADE, name])
            wait_for(lambda: front.check() or self._ready(), "the API is ready")  # type: ignore[func-returns-value]
            front.settle()
            yield

    @contextmanager
    def worker(self, **environment: str) -> Iterator[Path]:
        """A worker that is started again when it dies. Yields its log."""
        with self._processes("worker", **environment) as workers:
            workers.settle()
            workers.start("worker", [*_BRIGADE, "worker"])
            self._worker = workers
            yield workers.log("worker")

    @contextmanager
    def nobody_works(self) -> Iterator[None]:
        """The worker stands still, in a moment when it has nothing to do: cheaper than to start another."""
        pid = self._worker.pid("worker")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def another_api(self) -> Iterator[str]:
        """A second API process over the same servers. Yields its URL."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with self._processes("other-api", BRIGADE_API_PORT=str(port)) as processes:
            processes.settle()
            processes.start("api", [*_BRIGADE, "api"])
            wait_for(lambda: _answers(url), "the second API answers")
            yield url

    @contextmanager
    def _processes(self, name: str, **environment: str) -> Iterator[Supervisor]:
        supervisor = Supervisor(
            {**_basics(), **self.environment, **environment},
            self._directory / name,
            self._servers.guardian,
            report=print,
            first_delay_seconds=0.05,
            longest_delay_seconds=0.2,
        )
        try:
            yield supervisor
        finally:
            supervisor.stop(10)

    def _ready(self) -> bool:
        try:
            return self.client.readiness().ready
        except Unavailable:
            return False

    def close(self) -> None:
        self.client.close()
        self.http.close()
        self.services.close()

    # What the tests do.

    def put(self, key: str, body: bytes, bucket: str | None = None) -> str:
        """Drop an object, as any S3 client does; returns its ETag."""
        answer = self.services.objects.admin.put_object(Bucket=bucket or self.settings.bucket, Key=key, Body=body)
        return str(answer["ETag"]).strip('"')

    def remove(self, key: str) -> None:
        self.services.objects.admin.delete_object(Bucket=self.settings.bucket, Key=key)

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        with self.services.database.transaction() as connection:
            return list(connection.execute(text(statement), parameters).all())

    def tasks_of(self, key: str, kind: str = "DOCUMENT_UPLOAD") -> list[str]:
        """The ids of the key's tasks, oldest first."""
        return [
            row.id
            for row in self.sql(
                """
                SELECT task.id FROM tasks AS task JOIN documents AS document ON document.id = task.document_id
                WHERE document.object_key = :key AND task.type = :kind ORDER BY task.created_at
                """,
                key=key,
                kind=kind,
            )
        ]

    def task_of(self, key: str, number: int = 0) -> str:
        return wait_for(lambda: self.tasks_of(key)[number : number + 1], f"a task for {key}")[0]

    def ended(self, task_id: str, seconds: float = 60) -> Task:
        """The task, once it has ended."""

        def look() -> Task | None:
            task = self.client.task(task_id)
            return task if task.ended else None

        try:
            return wait_for(look, f"task {task_id} ends", seconds)
        except AssertionError as error:
            task = self.client.task(task_id)
            steps = {step.step_name: step.status for step in task.task_details}
            raise AssertionError(f"{error}: it is {task.status}, {steps}. {task.waiting_for}") from None

    def ingest(self, key: str, body: bytes) -> Task:
        """Drop an object and wait for its task's end."""
        self.put(key, body)
        return self.ended(self.task_of(key))

    def found(self, query: str, document_id: str, mode: str = "hybrid") -> list[Hit]:
        return self.client.search(query, mode=mode, documents=[document_id]).hits

    def rows_of(self, document_id: str) -> list[str]:
        """The ids of the document's rows in Milvus."""
        return sorted(self.services.index.ids(document_id))


def _own_database(url: str) -> str:
    server = url.rsplit("/", 1)[0]
    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE system")
    connection.close()
    return f"{server}/system"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _basics() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BRIGADE_")}
