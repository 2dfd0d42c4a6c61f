"""URLs for the store: what they name and sign, against boto3's for the same moment."""

from __future__ import annotations

import base64
import json
import socket
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from botocore.config import Config
from structlog.testing import capture_logs

from common.errors import ConfigurationError
from common.presigner import Presigner
from common.settings import Settings

MAIN = {"s3_access_key": "main-key", "s3_secret_key": "main-secret"}
SIGNING = {"s3_signing_access_key": "signing-key", "s3_signing_secret_key": "signing-secret"}
PUBLIC = "https://files.example"
# Where nothing listens: what asks a server fails.
NOWHERE = {"s3_endpoint": "http://127.0.0.1:1", "s3_public_endpoint": PUBLIC, "bucket": "ours"}
KEY = "incoming/d/中 文+(1)~.txt"


def presigner(**settings: Any) -> Presigner:
    return Presigner(Settings(_env_file=None, **(MAIN | SIGNING | NOWHERE | settings)))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("signing asked a server")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both signers see one moment."""
    moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)


def boto(operation: str, access: str, secret: str, **parameters: Any) -> str:
    client = boto3.client(
        "s3",
        endpoint_url=PUBLIC,
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
        ),
    )
    return str(client.generate_presigned_url(operation, Params={"Key": KEY, **parameters}, ExpiresIn=60))


def parts(url: str) -> tuple[str, str, str, dict[str, list[str]]]:
    split = urlsplit(url)
    return split.scheme, split.netloc, split.path, parse_qs(split.query)


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize(
    "endpoint",
    [
        "https://files.example:443",
        "http://files.example:80",
        "http://files.example:443",
        "http://Files.Example:9000",
        "http://[::1]:9000",
    ],
)
def test_the_host_is_signed_as_clients_send_it(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PUBLIC", endpoint)
    url, _ = presigner(s3_public_endpoint=endpoint).put(KEY, size=7, content_type="text/plain", seconds=60)
    theirs = boto("put_object", *SIGNING.values(), Bucket="ours", ContentLength=7, ContentType="text/plain")
    assert parse_qs(urlsplit(url).query) == parse_qs(urlsplit(theirs).query)


@pytest.mark.usefixtures("noon")
def test_a_put_is_signed_as_boto3_signs_it() -> None:
    url, headers = presigner().put(KEY, size=7, content_type="text/plain; charset=utf-8", seconds=60)
    assert url == boto(
        "put_object",
        *SIGNING.values(),
        Bucket="ours",
        ContentLength=7,
        ContentType="text/plain; charset=utf-8",
    )
    assert headers == {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "7"}


@pytest.mark.usefixtures("noon")
def test_a_part_is_signed_as_boto3_signs_it() -> None:
    url = presigner().part(KEY, "an/upload+id", 3, size=7, seconds=60)
    theirs = boto(
        "upload_part", *SIGNING.values(), Bucket="ours", UploadId="an/upload+id", PartNumber=3, ContentLength=7
    )
    assert parts(url) == parts(theirs)


@pytest.mark.usefixtures("noon")
def test_a_download_is_signed_by_the_main_key_as_boto3_signs_it() -> None:
    url = presigner().get("theirs", KEY, version_id="v/1", filename="a.txt", content_type="text/plain", seconds=60)
    theirs = boto(
        "get_object",
        *MAIN.values(),
        Bucket="theirs",
        VersionId="v/1",
        ResponseContentType="text/plain",
        ResponseContentDisposition="attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt",
    )
    assert parts(url) == parts(theirs)


def test_a_form_may_send_exactly_what_was_announced() -> None:
    url, fields = presigner().post(KEY, size=7, content_type="text/plain", seconds=60)
    policy = json.loads(base64.b64decode(fields["policy"]))
    assert url == f"{PUBLIC}/ours"
    for condition in ({"bucket": "ours"}, {"key": KEY}, {"Content-Type": "text/plain"}, ["content-length-range", 7, 7]):
        assert condition in policy["conditions"]
    assert (fields["key"], fields["Content-Type"]) == (KEY, "text/plain")
    assert fields["x-amz-credential"].startswith("signing-key/")
    left = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert 55 < left.total_seconds() <= 60


def test_no_url_holds_a_secret() -> None:
    ours = presigner()
    told = [
        *ours.put(KEY, size=7, content_type="text/plain", seconds=60),
        *ours.post(KEY, size=7, content_type="text/plain", seconds=60),
        ours.part(KEY, "id", 1, size=7, seconds=60),
        ours.get("ours", KEY, version_id=None, filename="a", content_type=None, seconds=60),
    ]
    assert "-secret" not in str(told)


def test_without_a_public_endpoint_the_stores_own_is_signed() -> None:
    url, _ = presigner(s3_public_endpoint="").put(KEY, size=7, content_type="text/plain", seconds=60)
    assert url.startswith("http://127.0.0.1:1/ours/incoming/d/")


@pytest.mark.parametrize("signing", [{}, {"s3_signing_access_key": "main-key", "s3_signing_secret_key": "main-secret"}])
def test_uploads_that_the_main_key_signs_are_said_once_and_without_the_secret(signing: dict[str, str]) -> None:
    with capture_logs() as said:
        ours = Presigner(Settings(_env_file=None, **(MAIN | NOWHERE | signing)))  # type: ignore[arg-type]
        urls = [ours.put(KEY, size=7, content_type="text/plain", seconds=60)[0] for _ in range(2)]
    assert [(line["event"], line["log_level"]) for line in said] == [("uploads.signed_with_main_key", "warning")]
    assert "main-secret" not in str(said)
    assert all("Credential=main-key" in url for url in urls)


def test_uploads_with_a_key_of_their_own_are_no_reason_to_warn() -> None:
    with capture_logs() as said:
        presigner()
    assert said == []


@pytest.mark.parametrize("half", SIGNING)
def test_half_a_signing_key_is_a_clear_error(half: str) -> None:
    with pytest.raises(ConfigurationError, match=f"missing: BRIGADE_{half.upper()}"):
        presigner(**{half: ""})


@pytest.mark.parametrize("url", ["files.example", "ftp://files.example", "https://example/files"])
def test_a_public_endpoint_that_cannot_be_signed_for_is_a_clear_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="BRIGADE_S3_PUBLIC_ENDPOINT must be"):
        presigner(s3_public_endpoint=url)


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("report.pdf", "report.pdf", "report.pdf"),
        ("年度报告 (终).pdf", "____ (_).pdf", "%E5%B9%B4%E5%BA%A6%E6%8A%A5%E5%91%8A%20%28%E7%BB%88%29.pdf"),
        ('a"; filename="b.exe', "a_; filename=_b.exe", "a%22%3B%20filename%3D%22b.exe"),
        ("a\r\nX-Evil: 1\x00.txt", "aX-Evil: 1.txt", "aX-Evil%3A%201.txt"),
        ("../a\\b.txt", ".._a_b.txt", ".._a_b.txt"),
        ("100%41's.txt", "100_41's.txt", "100%2541%27s.txt"),
        ("\ud800.txt", ".txt", ".txt"),
    ],
)
def test_a_download_has_its_name_whatever_it_holds(name: str, plain: str, encoded: str) -> None:
    url = presigner().get("ours", KEY, version_id=None, filename=name, content_type=None, seconds=60)
    query = parse_qs(urlsplit(url).query)
    assert query["response-content-disposition"] == [f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"]
    assert query["response-content-type"] == ["application/octet-stream"]
    assert "versionId" not in query


def test_a_chinese_name_comes_back_from_its_encoding() -> None:
    url = presigner().get("ours", KEY, version_id=None, filename="开封府 “一”.txt", content_type=None, seconds=60)
    disposition = parse_qs(urlsplit(url).query)["response-content-disposition"][0]
    assert unquote(disposition.split("UTF-8''")[1]) == "开封府 “一”.txt"
