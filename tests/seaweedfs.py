"""A private SeaweedFS: a store with versions and without notifications, which the sweep alone must drive."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from deploy.local.guardian import Guardian
from deploy.local.server import NotInstalledError, NotReadyError, Server
from deploy.local.state import free_port

# Parts of it that listen, each by HTTP and by gRPC. WebDAV, Iceberg and Lance are left out.
_LISTENERS = ("master", "volume", "filer", "s3", "admin")
# How often a volume server tells of itself: before its first word there is nowhere to write.
_HEARTBEAT = "100ms"


class SeaweedFS(Server):
    name = "SeaweedFS"
    # Its graceful stop takes 12 s, and tests' data are not worth it.
    stop_signal = signal.SIGKILL

    def __init__(self, directory: Path, port: int, guardian: Guardian, *, secret_key: str) -> None:
        super().__init__(directory, port, guardian)
        self.access_key = "brigade"
        self.secret_key = secret_key
        self._weed = Path(sys.executable).parent / "weed"
        self._ports = {f"{part}.port": free_port() for part in _LISTENERS} | {"s3.port": port}
        self._ports |= {f"{part}.port.grpc": free_port() for part in _LISTENERS}

    def stop(self) -> None:
        super().stop()
        # It puts the sockets of its gRPC side there, whatever it is told, and ended so leaves them.
        for part in _LISTENERS:
            Path(f"/tmp/seaweedfs-{part}-grpc-{self._ports[f'{part}.port.grpc']}.sock").unlink(missing_ok=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        if not self._weed.exists():
            raise NotInstalledError(self.name, "pip install 'bucket-brigade[dev]'")
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        identity = {"name": "brigade", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.directory / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def command(self) -> Sequence[str]:
        return [
            str(self._weed),
            f"-logdir={self.directory}",
            "mini",
            f"-dir={self.directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{option}={port}" for option, port in self._ports.items()),
            f"-s3.config={self.directory}/s3.json",
            f"-s3.localSocket={self.directory}/s3.sock",
            f"-filer.localSocket={self.directory}/filer.sock",
            f"-master.heartbeatInterval={_HEARTBEAT}",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]

    def check(self) -> None:
        try:
            with urlopen(f"{self.endpoint}/status", timeout=2):
                pass
        except HTTPError as error:
            if error.code != 403:  # it answers, and asks for a signature
                raise NotReadyError(str(error)) from error
        except (URLError, OSError) as error:
            raise NotReadyError(str(error)) from error
