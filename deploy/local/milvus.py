"""A private Milvus Lite: the server of the wheel `milvus-lite`, pure Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pymilvus import MilvusClient, MilvusException

from deploy.local import milvus_server
from deploy.local.server import NotReadyError, Server


class Milvus(Server):
    name = "Milvus"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """It makes what it needs."""

    def command(self) -> Sequence[str]:
        return [sys.executable, milvus_server.__file__, f"{self.directory}/data", str(self.port)]

    def check(self) -> None:
        try:
            # Dedicated: only so does close() close the connection, which would otherwise ping for ever and be refused.
            client = MilvusClient(self.uri, timeout=2, dedicated=True)
            client.list_collections()
            client.close()
        except MilvusException as error:
            raise NotReadyError(str(error)) from error
