"""Three RabbitMQ nodes on this machine, one cluster: a port mapper, a cookie, and ports of their own each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.guardian import Guardian
from deploy.local.rabbitmq import Epmd, RabbitMQ
from deploy.local.server import Server
from deploy.local.state import free_port

NAMES = ("brigade-1", "brigade-2", "brigade-3")


class Node(RabbitMQ):
    """`epmd`: the cluster's, which outlives a node."""

    def __init__(self, name: str, directory: Path, guardian: Guardian, *, password: str, epmd: Epmd) -> None:
        super().__init__(
            directory, free_port(), guardian, password=password, epmd_port=epmd.port, cluster_port=free_port()
        )
        self.name = name
        self.epmd = epmd

    def prepare(self) -> None:
        super().prepare()
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(self.password)
            cookie.chmod(0o400)
        with (self.directory / "rabbitmq.conf").open("a") as config:
            config.write("cluster_formation.peer_discovery_backend = classic_config\n")
            for number, name in enumerate(NAMES, start=1):
                config.write(f"cluster_formation.classic_config.nodes.{number} = {name}@localhost\n")

    def environment(self) -> dict[str, str]:
        return super().environment() | {"RABBITMQ_NODENAME": f"{self.name}@localhost"}

    def stop(self) -> None:
        Server.stop(self)

    def kill(self) -> None:
        Server.kill(self)


class Cluster:
    def __init__(self, directory: Path, *, password: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._guardian = Guardian()
        self._open = ExitStack()
        self._open.callback(self._guardian.close)
        self.epmd = Epmd(directory / "epmd", free_port(), self._guardian)
        self.nodes = [Node(name, directory / name, self._guardian, password=password, epmd=self.epmd) for name in NAMES]
        self._victims = itertools.cycle(self.nodes)

    def __enter__(self) -> Self:
        with self._open:
            self.epmd.start()
            self._open.callback(self.epmd.stop)
            self._open.callback(self._each, self.nodes, "stop")
            # The first makes the cluster, so that the others need not agree on who does.
            self.nodes[0].start()
            self._each(self.nodes[1:], "start")
            self._open = self._open.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """As BRIGADE_AMQP_URL is to be."""
        return ",".join(node.url for node in self.nodes)

    def next_victim(self) -> Node:
        """Each in turn."""
        return next(self._victims)

    def _each(self, nodes: Iterable[Node], what: str) -> None:
        with ThreadPoolExecutor(len(NAMES)) as threads:
            for done in [threads.submit(getattr(node, what)) for node in nodes]:
                done.result()
