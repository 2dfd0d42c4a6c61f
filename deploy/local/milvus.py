"""A private Milvus Lite: the server of the wheel `milvus-lite`, pure Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc

from deploy.local.server import NotReadyError, Server

# A name and no import: what it imports takes a second, which `brigade up` need not spend.
_SERVER = "deploy.local.milvus_server"
_CHECK_SECONDS = 2


class Milvus(Server):
    name = "Milvus"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """It makes what it needs."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", _SERVER, f"{self.directory}/data", str(self.port)]

    def check(self) -> None:
        # Its collections are open before its port is, so that it speaks gRPC there says enough.
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_CHECK_SECONDS)
            except grpc.FutureTimeoutError as error:
                raise NotReadyError("It does not answer.") from error
