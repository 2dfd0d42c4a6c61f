"""Multipart uploads of the client, against an API and a store that break off, refuse and expire as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.errors import Cancelled, Unavailable
from deploy.client import Client, UploadRefused
from deploy.client.sending import Urls
from deploy.client.shapes import SignedPart, SignedParts

PART = 4
CONTENT = bytes(range(65, 65 + 18))  # four whole parts and half a one
COUNT = 5


def test_the_part_whose_thread_asks_first_is_signed_with_those_before_it() -> None:
    asked: list[list[int]] = []

    def sign(numbers: Sequence[int]) -> SignedParts:
        asked.append(list(numbers))
        return SignedParts([SignedPart(number, f"url-{number}", PART) for number in numbers], datetime.now(UTC))

    urls = Urls([SignedPart(1, "url-1", PART)], [1, 2, 3, 4], sign)
    assert [urls.get(number, fresh=False) for number in (3, 1, 2, 4)] == ["url-3", "url-1", "url-2", "url-4"]
    urls.get(2, fresh=True)
    assert asked == [[2, 3, 4], [2]]


@dataclass
class Upload:
    """`troubles`: by part, what happens to the attempts to send it: a status, or "broken"; then it is taken.

    A URL is good while it has the latest signature, which `expire` makes void. The first two parts are signed at first.
    """

    ticket: dict[str, Any] = field(default_factory=dict)
    troubles: dict[int, list[int | str]] = field(default_factory=dict)
    arrived: dict[int, bytes] = field(default_factory=dict)
    announced: list[dict[str, Any]] = field(default_factory=list)
    signed: list[list[int]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    signature: int = 0
    completed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            match request.method, request.url.path:
                case "POST", "/v1/uploads":
                    self.announced.append(json.loads(request.content))
                    return httpx.Response(201, json=self._ticket())
                case "GET", "/v1/uploads/d/parts":
                    return httpx.Response(200, json=self._progress())
                case "POST", "/v1/uploads/d/parts":
                    self.signed.append(json.loads(request.content)["numbers"])
                    return httpx.Response(200, json={"parts": self._urls(self.signed[-1]), "expires_at": WHEN})
                case "POST", "/v1/uploads/d/complete":
                    self.completed = sorted(self.arrived) == list(range(1, COUNT + 1))
                    return httpx.Response(200 if self.completed else 409, json={**IDS, "size": len(CONTENT)})
                case "PUT", path:
                    return self._put(int(path.removeprefix("/store/")), request)
                case _:
                    raise AssertionError(request.url)

    def _ticket(self) -> dict[str, Any]:
        parts = {"upload_id": "u", "part_size": PART, "parts": self._urls([1, 2]), "expires_at": WHEN}
        return {**IDS, "method": "MULTIPART", **parts, **self.ticket}

    def _progress(self) -> dict[str, Any]:
        there = [{"number": n, "size": len(data), "etag": "e"} for n, data in self.arrived.items()]
        missing = [number for number in range(1, COUNT + 1) if number not in self.arrived]
        told = {"size": len(CONTENT), "completed": False, "upload_id": "u", "part_size": PART}
        return {**IDS, **told, "parts": there, "missing": missing}

    def _urls(self, numbers: list[int]) -> list[dict[str, Any]]:
        return [{"number": n, "url": f"http://example.test/store/{n}?s={self.signature}", "size": 0} for n in numbers]

    def _put(self, number: int, request: httpx.Request) -> httpx.Response:
        self.attempts.append(number)
        assert "authorization" not in request.headers
        trouble = next(iter(self.troubles.get(number, ())), None)
        if trouble is not None:
            self.troubles[number].pop(0)
        if trouble == "broken":
            raise httpx.WriteError("Broken pipe")
        if trouble is None and request.url.params["s"] != str(self.signature):
            trouble = 403
        if isinstance(trouble, int):
            return httpx.Response(trouble, text="<Error><Code>AccessDenied</Code></Error>")
        self.arrived[number] = request.read()
        assert request.headers["content-length"] == str(len(self.arrived[number]))
        return httpx.Response(200)


IDS = {"document_id": "d", "task_id": "t", "key": "incoming/d/a.bin"}
WHEN = "2030-01-01T00:00:00Z"


@pytest.fixture
def upload() -> Upload:
    return Upload()


@pytest.fixture
def client(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr("deploy.client.sending._FIRST_PAUSE_SECONDS", 0)
    with Client("http://example.test", "key", transport=httpx.MockTransport(upload)) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


def whole(upload: Upload) -> bool:
    return upload.completed and b"".join(upload.arrived[n] for n in sorted(upload.arrived)) == CONTENT


def test_all_parts_arrive_and_what_is_not_signed_yet_is_signed_when_it_is_needed(
    upload: Upload, client: Client, file: Path
) -> None:
    heard: list[int] = []
    client.upload(file, metadata={"a": 1}, on_bytes=heard.append)
    assert whole(upload)
    assert sum(heard) == len(CONTENT)
    assert upload.signed == [[3, 4, 5]]
    (announced,) = upload.announced
    assert len(announced["sha256"]) == 64
    assert announced["metadata"] == {"a": 1}


def test_an_upload_that_is_gone_on_with_sends_only_what_is_missing(upload: Upload, client: Client, file: Path) -> None:
    upload.ticket = {"resumed": True}
    upload.arrived = {1: CONTENT[:4], 3: CONTENT[8:12]}
    heard: list[int] = []
    assert client.upload(file, on_bytes=heard.append).resumed
    assert whole(upload)
    assert sorted(upload.attempts) == [2, 4, 5]
    assert heard[0] == 8  # what was there already
    assert sum(heard) == len(CONTENT)


def test_an_upload_of_which_all_arrived_is_only_completed(upload: Upload, client: Client, file: Path) -> None:
    upload.ticket = {"resumed": True}
    upload.arrived = {n + 1: CONTENT[n * PART : (n + 1) * PART] for n in range(COUNT)}
    client.upload(file)
    assert whole(upload)
    assert upload.attempts == []


def test_an_expired_url_is_signed_anew(upload: Upload, client: Client, file: Path) -> None:
    ticket = client.uploads.announce(file.name, len(CONTENT), "text/plain")
    upload.signature += 1
    client.uploads.send(ticket, file)
    assert whole(upload)
    assert sorted(upload.attempts) == [1, 1, 2, 2, 3, 4, 5]


def test_what_is_refused_with_a_fresh_url_as_well_is_an_error(upload: Upload, client: Client, file: Path) -> None:
    upload.troubles = {2: [403, 403]}
    with pytest.raises(UploadRefused, match="403 AccessDenied"):
        client.upload(file)
    assert upload.attempts.count(2) == 2
    assert not upload.completed


def test_a_store_that_breaks_off_is_tried_again_and_no_byte_is_counted_twice(
    upload: Upload, client: Client, file: Path
) -> None:
    upload.troubles = {1: ["broken", 503], 4: ["broken"]}
    heard: list[int] = []
    client.upload(file, on_bytes=heard.append)
    assert whole(upload)
    assert sum(heard) == len(CONTENT)
    assert (upload.attempts.count(1), upload.attempts.count(4)) == (3, 2)


def test_a_store_that_stays_away_is_an_error_after_a_few_attempts(upload: Upload, client: Client, file: Path) -> None:
    upload.troubles = {1: ["broken"] * 99}
    with pytest.raises(Unavailable, match="broke off"):
        client.upload(file)
    assert upload.attempts.count(1) == 5


def test_who_listens_can_stop_it_and_what_arrived_stays(upload: Upload, client: Client, file: Path) -> None:
    said: list[str] = []

    def on_bytes(count: int) -> None:
        said.append("no" if upload.arrived else "yes")
        if upload.arrived:
            raise Cancelled

    with pytest.raises(Cancelled):
        client.upload(file, on_bytes=on_bytes)
    assert upload.arrived
    assert not upload.completed
    assert said.index("no") == len(said) - 1  # nobody is asked again


def test_a_duplicate_is_not_sent(upload: Upload, client: Client, file: Path) -> None:
    upload.ticket = {"duplicate": True, "method": "", "name": "other.bin"}
    ticket = client.upload(file)
    assert ticket.duplicate
    assert ticket.name == "other.bin"
    assert upload.attempts == []
    client.upload(file, allow_duplicate=True)
    assert [body.get("allow_duplicate", False) for body in upload.announced] == [False, True]
