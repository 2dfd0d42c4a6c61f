"""What goes straight to the store and comes from it, by URLs that the API signed."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from common.errors import BrigadeError, Unavailable
from deploy.client.transport import http_client, is_loopback, place, said

# A store that is silent for a minute is gone; a transfer as a whole may take as long as it needs.
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PIECE_BYTES = 256 * 1024


class UploadRefused(BrigadeError):
    """The store refused the upload."""

    code = "UPLOAD_REFUSED"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status=status)
        self.status = status


class DownloadRefused(BrigadeError):
    """The store refused the download."""

    code = "DOWNLOAD_REFUSED"


class Store:
    """Safe to share between threads. URLs are their own credential: our key never goes there."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        # By whether they are for this machine's own loopback, where no proxy is asked.
        self._clients: dict[bool, httpx.Client] = {}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def put(self, url: str, pieces: Iterator[bytes], headers: Mapping[str, str]) -> None:
        """Raises `UploadRefused`, or `Unavailable` when the store breaks off. `headers` tell the length."""
        try:
            with self._reached(url, "upload"):
                response = self._client(url).put(url, content=pieces, headers=headers)
        except httpx.LocalProtocolError as error:
            raise UploadRefused("The file changed its size while it was sent: upload it again.") from error
        if not response.is_success:
            raise UploadRefused(
                f"The store refused the upload: {response.status_code} {_store_says(response.text)}",
                response.status_code,
            )

    def fetch(self, url: str, path: Path, on_bytes: Callable[[int], object]) -> None:
        """Save what is there as `path`, which is whole or not there. `on_bytes` hears the size of each piece."""
        unfinished = path.with_name(f".brigade-{secrets.token_hex(8)}.part")
        try:
            with (
                unfinished.open("xb") as file,
                self._reached(url, "download"),
                self._client(url).stream("GET", url) as response,
            ):
                if not response.is_success:
                    body = response.read().decode(errors="replace")
                    raise DownloadRefused(f"The store refused the download: {response.status_code} {_store_says(body)}")
                for piece in response.iter_bytes(_PIECE_BYTES):
                    file.write(piece)
                    on_bytes(len(piece))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _client(self, url: str) -> httpx.Client:
        local = is_loopback(url)
        with self._lock:
            if local not in self._clients:
                self._clients[local] = http_client(url, self._transport, _TIMEOUT)
            return self._clients[local]

    @contextmanager
    def _reached(self, url: str, doing: str) -> Iterator[None]:
        try:
            yield
        except httpx.LocalProtocolError:
            raise
        except httpx.HTTPError as error:
            raise Unavailable(f"The store at {place(url)} broke off the {doing}: {said(error)}.") from error


def pieces_of(file: BinaryIO, on_bytes: Callable[[int], object], size: int) -> Iterator[bytes]:
    """The next `size` bytes of the file, piece by piece; `on_bytes` hears the size of each once it is sent."""
    left = size
    while left and (piece := file.read(min(_PIECE_BYTES, left))):
        yield piece
        left -= len(piece)
        on_bytes(len(piece))


def _store_says(body: str) -> str:
    """Code and message of S3's XML error, by pattern: too small a need for a parser of hostile XML."""
    found = [re.search(rf"<{name}>([^<]*)</{name}>", body) for name in ("Code", "Message")]
    return ": ".join(match[1] for match in found if match) or "without a reason"
