"""What clients say of a file, before anything is written down."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.errors import RequestError
from common.http import Call, decode_body
from common.multipart import MAX_PARTS, MIN_PART_BYTES, part_size, part_sizes
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from functions.http.upload_requests import UploadBatch, UploadRequest, checked
from functions.http.uploads import create_uploads

SETTINGS = Settings(max_document_bytes=50 << 30)


def request(**told: Any) -> UploadRequest:
    return decode_body(msgspec.json.encode({"filename": "a.txt", "size": 1, **told}), UploadRequest)


@pytest.mark.parametrize(
    "told",
    [
        {"size": -1},
        {"size": 1.5},
        {"size": "1"},
        {"filename": ""},
        {"filename": "x" * 10_000},
        {"sha256": "a" * 63},
        {"sha256": "g" * 64},
        {"sha256": "a" * 64 + "\n"},
        {"method": "patch"},
        {"metadata": []},
        {"content_type": "text/plain\r\nX-Evil: 1"},
    ],
)
def test_what_is_no_announcement_is_refused_before_it_is_looked_at(told: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        request(**told)
    assert (caught.value.status, caught.value.code) == (400, "INVALID_BODY")


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"size": 51 << 30}, 413, "TOO_LARGE"),
        ({"size": 10**30}, 413, "TOO_LARGE"),
        ({"filename": "../.."}, 400, "INVALID_FILENAME"),
        ({"filename": "\x00\x01"}, 400, "INVALID_FILENAME"),
        ({"metadata": {"a": "x" * 20_000}}, 422, "METADATA_TOO_LARGE"),
        ({"size": 6 << 30, "method": "put"}, 422, "METHOD_UNFIT"),
        ({"size": 6 << 30, "method": "post"}, 422, "METHOD_UNFIT"),
    ],
)
def test_what_no_server_can_take_is_refused(told: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        checked(SETTINGS, decode(told))
    assert (caught.value.status, caught.value.code) == (status, code)


def decode(told: dict[str, Any]) -> UploadRequest:
    """As decoded, but for what JSON could not carry."""
    given: dict[str, Any] = {"filename": "a.txt", "size": 1}
    return UploadRequest(**given | told)


@pytest.mark.parametrize(
    ("size", "method"), [(0, "put"), (100 << 20, "put"), ((100 << 20) + 1, "multipart"), (6 << 30, "multipart")]
)
def test_large_files_are_multipart_unless_asked_not_to(size: int, method: str) -> None:
    assert checked(SETTINGS, request(size=size)).method == method
    assert checked(SETTINGS, request(size=min(size, 5 << 30), method="put")).method == "put"


def test_a_checksum_is_the_same_in_either_case() -> None:
    assert checked(SETTINGS, request(sha256="AB" * 32)).upload.sha256 == "ab" * 32


def test_a_batch_is_refused_as_a_whole_naming_the_file_that_is_wrong() -> None:
    call = Call(Services(SETTINGS), {}, Principal("admin", is_admin=True))
    files = [request(), request(size=51 << 30), request()]
    with pytest.raises(RequestError) as caught:
        create_uploads(call, UploadBatch(files))
    assert caught.value.message.startswith("files[1]: The file has")
    assert (caught.value.status, caught.value.details["index"]) == (413, 1)


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_files(count: int) -> None:
    body = msgspec.json.encode({"files": [{"filename": "a", "size": 1}] * count})
    with pytest.raises(RequestError):
        decode_body(body, UploadBatch)


@pytest.mark.parametrize("size", [0, 1, MIN_PART_BYTES, 100 << 20, (5 << 40) - 1, 5 << 40])
def test_parts_are_few_enough_large_enough_and_make_the_whole(size: int) -> None:
    each = part_size(size, MIN_PART_BYTES)
    sizes = part_sizes(size, each)
    assert sum(sizes.values()) == size
    assert 1 <= len(sizes) <= MAX_PARTS
    assert list(sizes) == list(range(1, len(sizes) + 1))
    assert all(one == each >= MIN_PART_BYTES for one in list(sizes.values())[:-1])
