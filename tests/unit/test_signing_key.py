"""What `brigade migrate` says of the key that signs uploads, where the store is no MinIO. See the integration tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from structlog.testing import capture_logs

from common.objects import ObjectStore
from common.settings import Settings
from deploy.signing_key import ensure_signing_key, upload_policy

SIGNING = {"s3_signing_access_key": "signing-key", "s3_signing_secret_key": "signing-secret"}
ADMIN = "/minio/admin/v3/"


class OtherStore(BaseHTTPRequestHandler):
    """A store that knows the key `main` only and answers MinIO's admin API with what `admin` holds."""

    protocol_version = "HTTP/1.1"
    admin: tuple[int, bytes] = (404, b"")
    asked: list[str]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith(ADMIN):
            self.asked.append(f"{self.command} {self.path.removeprefix(ADMIN)}")
            self.send(*self.admin)
        elif "Credential=main/" not in self.headers["Authorization"]:
            self.send(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        elif "versioning" in self.path:
            self.send(501, b"<Error><Code>NotImplemented</Code></Error>")
        else:
            self.send(200, b"<ListBucketResult><Name>ours</Name></ListBucketResult>" if self.command == "GET" else b"")

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - http.server's

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_store() -> Iterator[tuple[str, type[OtherStore]]]:
    handler = type("Handler", (OtherStore,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def said_by(endpoint: str, **keys: str) -> list[dict[str, Any]]:
    """What is logged when it could not be made sure that the key is powerless."""
    given = {"s3_endpoint": endpoint, "s3_access_key": "main", "s3_secret_key": "main-secret", "bucket": "ours"} | keys
    settings = Settings(_env_file=None, **given)  # type: ignore[arg-type]
    objects = ObjectStore(settings)
    with capture_logs() as said:
        assert not ensure_signing_key(objects, settings)
    assert "-secret" not in str(said)
    return [dict(line) for line in said]


def test_the_policy_allows_writing_under_incoming_and_nothing_else() -> None:
    (statement,) = json.loads(upload_policy("ours"))["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
        "Resource": ["arn:aws:s3:::ours/incoming/*"],
    }


def test_without_a_key_of_its_own_it_is_said_with_the_policy_to_make_one() -> None:
    (line,) = said_by("http://127.0.0.1:1")
    assert (line["event"], line["log_level"]) == ("signing_key.missing", "warning")
    assert line["policy"] == upload_policy("ours")
    assert "BRIGADE_S3_SIGNING_ACCESS_KEY" in line["hint"]


@pytest.mark.parametrize(
    ("admin", "reason"),
    [
        ((404, b"<Error><Code>NoSuchBucket</Code></Error>"), "no admin API of MinIO's"),
        ((403, b"<Error><Code>AccessDenied</Code></Error>"), "Status: 403.*AccessDenied"),
        ((501, b"<Error><Code>NotImplemented</Code></Error>"), "Status: 501.*NotImplemented"),
        ((200, b"<html>files</html>"), "no admin API of MinIO's"),
        ((200, b"[]"), "no admin API of MinIO's"),
        ((200, b"{}"), "no admin API of MinIO's"),
    ],
)
def test_a_store_without_minios_admin_api_is_said_to_need_the_key_made_by_hand(
    other_store: tuple[str, type[OtherStore]], admin: tuple[int, bytes], reason: str
) -> None:
    endpoint, handler = other_store
    handler.admin = admin
    not_made, useless = said_by(endpoint, **SIGNING)
    assert (not_made["event"], useless["event"]) == ("signing_key.not_made", "signing_key.useless")
    assert re.search(reason, not_made["reason"])
    assert not_made["policy"] == upload_policy("ours")
    assert handler.asked == ["GET user-info?accessKey=signing-key"], "a store might take a PUT for an object"


def test_a_key_that_a_store_lets_do_everything_is_said_to_be_too_powerful() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        settings = Settings.model_validate({"s3_endpoint": endpoint, "s3_access_key": "main", "s3_secret_key": "s"})
        ObjectStore(settings).admin.create_bucket(Bucket="ours")
        (line,) = said_by(endpoint, **SIGNING)
    finally:
        server.stop()
    assert (line["event"], line["log_level"]) == ("signing_key.too_powerful", "error")
    assert line["may"] == ["delete", "list", "overwrite", "read", "read uploads"]
