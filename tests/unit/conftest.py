"""An S3 store over HTTP, with versions if asked for: for what boto3 alone cannot show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from common.objects import ObjectStore
from common.settings import Settings


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def store(endpoint: str) -> ObjectStore:
    return ObjectStore(Settings(_env_file=None, s3_endpoint=endpoint, s3_access_key="key", s3_secret_key="secret"))
