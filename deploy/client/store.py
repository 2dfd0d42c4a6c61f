"""What a client sends straight to the store, by URLs that the API signed: whole files, and parts of big ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import httpx

from common.errors import BrigadeError, Unavailable
from deploy.client.shapes import Ticket
from deploy.client.transport import http_client, place, said

# A store that stops reading for a minute is gone; an upload as a whole may take as long as it needs.
_UPLOAD = httpx.Timeout(60.0, connect=10.0)
_PIECE_BYTES = 256 * 1024


class UploadRefused(BrigadeError):
    """The store refused the upload."""

    code = "UPLOAD_REFUSED"


def put(ticket: Ticket, pieces: Iterator[bytes], size: int, transport: httpx.BaseTransport | None = None) -> None:
    """Send `size` bytes to the place that `ticket` names."""
    send(ticket.method, ticket.url, pieces, {"Content-Length": str(size)} | ticket.headers, transport)


def send(
    method: str,
    url: str,
    pieces: Iterator[bytes],
    headers: dict[str, str],
    transport: httpx.BaseTransport | None = None,
) -> httpx.Response:
    # The store's URL is its own credential: our key never goes there.
    with http_client(url, transport, _UPLOAD) as store:
        try:
            response = store.request(method, url, content=pieces, headers=headers)
        except httpx.LocalProtocolError as error:
            raise UploadRefused("The file changed its size while it was sent: upload it again.") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"The store at {place(url)} broke off the upload: {said(error)}.") from error
    if not response.is_success:
        raise UploadRefused(f"The store refused the upload: {response.status_code} {_store_says(response.text)}")
    return response


def pieces_of(file: BinaryIO, on_bytes: Callable[[int], object], limit: int | None = None) -> Iterator[bytes]:
    """What is left of the file, or `limit` bytes of it, piece by piece; `on_bytes` hears the size of each once sent."""
    left = limit
    while piece := file.read(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left)):
        yield piece
        on_bytes(len(piece))
        if left is not None:
            left -= len(piece)


def _store_says(body: str) -> str:
    """Code and message of S3's XML error, by pattern: too small a need for a parser of hostile XML."""
    found = [re.search(rf"<{name}>([^<]*)</{name}>", body) for name in ("Code", "Message")]
    return ": ".join(match[1] for match in found if match) or "without a reason"
