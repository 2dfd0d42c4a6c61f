"""The private servers of one directory, started together: Postgres, the store, RabbitMQ, Milvus Lite.

A server that the user's environment names is used instead of started. Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from common.errors import ConfigurationError
from deploy.local.guardian import Guardian
from deploy.local.milvus import Milvus
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.server import NotInstalledError, Server, ServerError
from deploy.local.state import State, lock_for_guardian, lock_for_us
from deploy.local.store import Store

__all__ = ["LocalServers", "NotInstalledError", "ServerError"]

_STORE_VARIABLES = ("BRIGADE_S3_ENDPOINT", "BRIGADE_S3_ACCESS_KEY", "BRIGADE_S3_SECRET_KEY")
# `brigade migrate` makes this key at our store. At a store of the user's there is one only if he names it.
_SIGNING_VARIABLES = ("BRIGADE_S3_SIGNING_ACCESS_KEY", "BRIGADE_S3_SIGNING_SECRET_KEY")
_SIGNING_KEY = "brigade-uploads"


def _silent(_: str) -> None:
    pass


class LocalServers:
    """`directory`: data, logs, ports and secrets. `api_port`: where the store's webhook goes. `reuse`: the environment.

    The servers that were started are `postgres`, `store`, `rabbitmq`, `milvus`, each with `start`, `stop` and `kill`;
    one that is reused has no such attribute. `guardian` may be told of other processes that shall end with us.
    """

    postgres: Postgres
    store: Store
    rabbitmq: RabbitMQ
    milvus: Milvus
    guardian: Guardian

    def __init__(
        self,
        directory: Path,
        *,
        api_port: int,
        report: Callable[[str], None] = _silent,
        reuse: Mapping[str, str] = {},
    ) -> None:
        self.directory = directory.resolve()
        self.environment: dict[str, str] = {}
        self.api_port = api_port
        self._report = report
        self._reuse = {name: value for name, value in reuse.items() if value}
        self._servers: list[Server] = []
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Return when every server answers. Raises `ServerError`, or `ConfigurationError` with nothing started."""
        given = [name for name in _STORE_VARIABLES if name in self._reuse]
        if given and len(given) < len(_STORE_VARIABLES):
            raise ConfigurationError(f"{', '.join(_STORE_VARIABLES)} go together; only {', '.join(given)} is set.")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock_for_us(self.directory)
        try:
            with lock_for_guardian(self.directory) as held:
                self.guardian = Guardian(hold=[held.fileno()])
            state = State(self.directory, self._reuse)
            self._plan(state)
            state.save()
            self._start_all()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def stop(self) -> None:
        """End every server that was started, within seconds. Harmless twice."""
        if self._servers:
            with ThreadPoolExecutor(len(self._servers)) as threads:
                for done in [threads.submit(server.stop) for server in self._servers]:
                    done.result()
            self._servers = []
        if "guardian" in self.__dict__:
            self.guardian.close()
        if self._lock:
            self._lock.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _plan(self, state: State) -> None:
        """Choose ports and secrets, and say where everything will be."""
        reuse, here, guardian = self._reuse, self.directory, self.guardian
        token = reuse.get("BRIGADE_EVENTS_TOKEN") or state.secret("events_token")
        self.environment = {
            "BRIGADE_EVENTS_TOKEN": token,
            "BRIGADE_JWT_SECRET": reuse.get("BRIGADE_JWT_SECRET") or state.secret("jwt"),
            "BRIGADE_BUCKET": reuse.get("BRIGADE_BUCKET", "brigade"),
        }
        if not self._reused("BRIGADE_DATABASE_URL"):
            port = state.port("postgres", "BRIGADE_POSTGRES_PORT")
            self.postgres = Postgres(here / "postgres", port, guardian, password=state.secret("postgres"))
            self._add(self.postgres, BRIGADE_DATABASE_URL=self.postgres.url)
        if not self._reused(*_STORE_VARIABLES, *_SIGNING_VARIABLES):
            self.store = Store(
                here / "store",
                state.port("store", "BRIGADE_S3_PORT"),
                guardian,
                secret_key=state.secret("store"),
                webhook=f"http://127.0.0.1:{self.api_port}/events/s3",
                token=token,
            )
            keys = (self.store.endpoint, self.store.access_key, self.store.secret_key)
            signing = (_SIGNING_KEY, state.secret("signing"))
            self._add(self.store, **dict(zip(_STORE_VARIABLES + _SIGNING_VARIABLES, keys + signing, strict=True)))
        if not self._reused("BRIGADE_AMQP_URL"):
            self.rabbitmq = RabbitMQ(
                here / "rabbitmq",
                state.port("rabbitmq", "BRIGADE_AMQP_PORT"),
                guardian,
                password=state.secret("rabbitmq"),
                epmd_port=state.port("epmd"),
                cluster_port=state.port("rabbitmq-cluster"),
            )
            self._add(self.rabbitmq, BRIGADE_AMQP_URL=self.rabbitmq.url)
        if not self._reused("BRIGADE_MILVUS_URI"):
            self.milvus = Milvus(here / "milvus", state.port("milvus", "BRIGADE_MILVUS_PORT"), guardian)
            self._add(self.milvus, BRIGADE_MILVUS_URI=self.milvus.uri)

    def _reused(self, *variables: str) -> bool:
        """Whether the user named this server; then it goes into the environment as it is."""
        self.environment.update({name: self._reuse[name] for name in variables if name in self._reuse})
        return variables[0] in self._reuse

    def _add(self, server: Server, **variables: str) -> None:
        self._servers.append(server)
        self.environment.update(variables)

    def _start_all(self) -> None:
        """Side by side: RabbitMQ takes several seconds, and the others are up meanwhile."""
        if not self._servers:
            return
        began = time.monotonic()
        with ThreadPoolExecutor(len(self._servers)) as threads:
            starting = {threads.submit(server.start): server for server in self._servers}
            try:
                for done in as_completed(starting):
                    done.result()
                    self._report(f"{starting[done].name} is up ({time.monotonic() - began:.1f} s)")
            except BaseException:
                for server in self._servers:
                    server.give_up()
                raise
