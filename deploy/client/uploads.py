"""Uploads: announced to the API, sent to the store, gone on with after a break, given up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.client import calls
from deploy.client.sending import Sending
from deploy.client.shapes import SignedParts, Ticket, UploadEnd, UploadProgress
from deploy.client.store import Store
from deploy.client.transport import Transport


class Uploads:
    def __init__(self, api: Transport, store: Store) -> None:
        self._api = api
        self._store = store

    def announce(
        self,
        name: str,
        size: int,
        content_type: str,
        knowledge_base: str | None = None,
        *,
        sha256: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        method: str | None = None,
        allow_duplicate: bool = False,
    ) -> Ticket:
        """Ask for a place to upload `size` bytes to. `method`: put, post or multipart; None: the API chooses.

        With a `sha256` the answer may be a `duplicate`, unless those are allowed, or an upload to go on with.
        """
        body: dict[str, Any] = {"filename": name, "size": size, "content_type": content_type}
        options = {"knowledge_base_id": knowledge_base, "sha256": sha256, "metadata": metadata, "method": method}
        body |= {field: value for field, value in options.items() if value is not None}
        if allow_duplicate:
            body["allow_duplicate"] = True
        return self._api.call(calls.ANNOUNCE, body)

    def send(self, ticket: Ticket, path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """Send the file that was announced: in parts only those that have not arrived, then complete.

        `on_bytes` hears the size of each piece, from one thread at a time: of what was there already too, and less
        than nothing of what must be sent again.
        """
        if ticket.duplicate:
            return
        size = path.stat().st_size
        sending = Sending(self._store, path, size, on_bytes)
        if ticket.method != "MULTIPART":
            sending.whole(ticket)
            return
        if ticket.resumed:
            missing: Sequence[int] = self.progress(ticket.document_id).missing
        else:
            missing = range(1, max(1, -(-size // (ticket.part_size or size))) + 1)
        sending.parts(ticket, missing, lambda numbers: self.sign(ticket.document_id, numbers))
        self.complete(ticket.document_id)

    def progress(self, document_id: str) -> UploadProgress:
        """What of a multipart upload has arrived."""
        return self._api.call(calls.LIST_PARTS, patient=True, document_id=document_id)

    def sign(self, document_id: str, numbers: Sequence[int]) -> SignedParts:
        """Fresh URLs for these parts, up to 1,000."""
        return self._api.call(calls.SIGN_PARTS, {"numbers": list(numbers)}, patient=True, document_id=document_id)

    def complete(self, document_id: str) -> UploadEnd:
        """Make the object of its parts. To repeat it changes nothing."""
        return self._api.call(calls.COMPLETE, {}, patient=True, document_id=document_id)

    def abort(self, document_id: str) -> UploadEnd:
        """Give an upload up: what has arrived of it is dropped."""
        return self._api.call(calls.ABORT, document_id=document_id)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
