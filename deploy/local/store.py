"""A private MinIO-compatible store: JuiceFS's gateway is MinIO's own server code, notifications included."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from deploy.local.guardian import Guardian
from deploy.local.server import NotReadyError, Server


class Store(Server):
    name = "Store"

    def __init__(
        self, directory: Path, port: int, guardian: Guardian, *, secret_key: str, webhook: str, token: str
    ) -> None:
        super().__init__(directory, port, guardian)
        self.access_key = "brigade"
        self.secret_key = secret_key
        self.webhook = webhook
        self.token = token
        self._juicefs = str(Path(sys.executable).parent / "juicefs")
        self._meta = f"sqlite3://{directory}/meta.db"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        # Formatting what is formatted changes nothing. Without a trash deleted bytes are gone.
        bucket = f"{self.directory}/data/"
        self.run(
            [self._juicefs, "format", "--storage=file", f"--bucket={bucket}", "--trash-days=0", self._meta, "brigade"]
        )

    def command(self) -> Sequence[str]:
        return [
            self._juicefs,
            "gateway",
            "--multi-buckets",
            "--keep-etag",
            "--object-meta",
            "--object-tag",
            "--no-usage-report",
            "--no-bgjob",
            "--no-banner",
            "--no-agent",
            "--metrics=127.0.0.1:0",
            f"--cache-dir={self.directory}/cache",
            "--cache-size=0",  # what it would keep a copy of lies on the same disk
            f"--log={self.directory}/gateway.log",
            self._meta,
            f"127.0.0.1:{self.port}",
        ]

    def environment(self) -> dict[str, str]:
        """Two targets, one webhook: the fast one may lose an event, the safe one keeps it on disk and takes 3 s."""
        targets = {
            f"MINIO_NOTIFY_WEBHOOK_{name}_{target}": value
            for target in ("FAST", "SAFE")
            for name, value in (("ENABLE", "on"), ("ENDPOINT", self.webhook), ("AUTH_TOKEN", self.token))
        }
        return {
            **super().environment(),
            **targets,
            "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_SAFE": f"{self.directory}/notifications",
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
        }

    def check(self) -> None:
        try:
            with urlopen(f"{self.endpoint}/minio/health/ready", timeout=2):  # noqa: S310 - our own address
                pass
        except (URLError, OSError) as error:
            raise NotReadyError(str(error)) from error
