"""A private Milvus Lite: the server of the wheel `milvus-lite`, pure Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pymilvus import MilvusClient, MilvusException

from deploy.local.server import NotReadyError, Server


class Milvus(Server):
    name = "Milvus"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """It makes what it needs."""

    def command(self) -> Sequence[str]:
        # Its default host is 0.0.0.0, without authentication.
        server = str(Path(sys.executable).parent / "milvus-lite")
        return [
            server,
            "server",
            "--data-dir",
            f"{self.directory}/data",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]

    def check(self) -> None:
        try:
            client = MilvusClient(self.uri, timeout=2)
            client.list_collections()
            client.close()
        except MilvusException as error:
            raise NotReadyError(str(error)) from error
