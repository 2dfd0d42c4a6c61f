"""Objects encrypted with a key that only their sender has (SSE-C): the store answers as MinIO and AWS do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.context import Target
from common.erasing import KnownBytes, erase
from common.errors import Rejected
from common.findings import Found
from common.objects import ObjectStore
from common.settings import Settings

KEY = "incoming/d1/secret.txt"
REFUSAL = b"<Error><Code>InvalidRequest</Code><Message>The correct parameters must be provided.</Message></Error>"

LISTING = f"""<ListBucketResult><Name>ours</Name><IsTruncated>false</IsTruncated><Contents><Key>{KEY}</Key>
    <LastModified>2026-01-01T00:00:00.017Z</LastModified><ETag>"etag"</ETag><Size>5</Size></Contents></ListBucketResult>
""".encode()


class Encrypted(BaseHTTPRequestHandler):
    """Tells nothing of its only object, and why only to a GET."""

    deleted: list[str]

    def do_HEAD(self) -> None:
        self._answer(400)

    def do_GET(self) -> None:
        if "versioning" in self.path:
            self._answer(200, b"<VersioningConfiguration/>")
        elif "list-type" in self.path:
            self._answer(200, LISTING)
        else:
            self._answer(400, REFUSAL)

    def do_DELETE(self) -> None:
        self.deleted.append(self.path)
        self._answer(204)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def objects() -> Iterator[ObjectStore]:
    Encrypted.deleted = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Encrypted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        yield ObjectStore(
            Settings(_env_file=None, s3_endpoint=endpoint, s3_access_key="key", s3_secret_key="secret", bucket="ours")
        )
        server.shutdown()
        thread.join()


def known(*, announced: bool) -> KnownBytes:
    return KnownBytes("ours", KEY, frozenset({"etag"}), frozenset(), frozenset(), live=False, announced=announced)


def test_it_is_the_documents_own_fault_and_not_a_store_that_is_away(objects: ObjectStore) -> None:
    with pytest.raises(Rejected, match="encrypted with a key that only its sender has") as refused:
        objects.pin(Target("t1", "d1", 1, "kb", "secret.txt", "ours", KEY, "etag"), 100)
    assert refused.value.code == "OBJECT_ENCRYPTED"


def test_whoever_looks_sees_what_the_listing_tells_so_that_it_is_refused_and_not_overlooked(
    objects: ObjectStore,
) -> None:
    for found in (objects.look("ours", KEY), objects.ask("ours", KEY)):
        assert isinstance(found, Found)
        assert (found.etag, found.size, found.written_at.microsecond) == ("etag", 5, 17_000)
    assert objects.look("ours", KEY[:-1]) is None
    assert not objects.exists(KEY)


def test_it_is_erased_where_all_under_the_key_is_its_documents(objects: ObjectStore) -> None:
    assert erase(objects, known(announced=True), check=lambda: None) == {"objects": 1}
    assert len(Encrypted.deleted) == 1


def test_it_stays_where_nobody_knows_whose_it_is(objects: ObjectStore) -> None:
    assert "left" in erase(objects, known(announced=False), check=lambda: None)
    assert Encrypted.deleted == []
