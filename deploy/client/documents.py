"""Documents: listed, looked at, described, processed again, downloaded, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.client import calls
from deploy.client.pages import items
from deploy.client.shapes import Begun, Chunk, Document, Download, TextPage
from deploy.client.store import Store
from deploy.client.transport import Transport


class Documents:
    def __init__(self, api: Transport, store: Store) -> None:
        self._api = api
        self._store = store

    def list(
        self,
        *,
        knowledge_base: str | None = None,
        status: str | None = None,
        file_type: str | None = None,
        q: str | None = None,
        user_id: str | None = None,
        parent_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Document]:
        """The newest first. `q`: anywhere in the name; `knowledge_base`: its id or name; times with their zone.

        `parent_id`: the documents that were in this archive or e-mail.
        """
        query = {
            "knowledge_base_id": knowledge_base,
            "processing_status": status,
            "file_type": file_type,
            "q": q,
            "user_id": user_id,
            "parent_id": parent_id,
            "created_after": created_after and created_after.isoformat(),
            "created_before": created_before and created_before.isoformat(),
        }
        return items(self._api, calls.LIST_DOCUMENTS, query)

    def get(self, document_id: str) -> Document:
        return self._api.call(calls.GET_DOCUMENT, document_id=document_id)

    def update(
        self, document_id: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Document:
        """What is None stays; `metadata` is replaced as a whole."""
        changes = {"name": name, "metadata": metadata}
        given = {field: value for field, value in changes.items() if value is not None}
        return self._api.call(calls.CHANGE_DOCUMENT, given, document_id=document_id)

    def delete(self, document_id: str) -> Begun:
        """Out of sight at once; the task ends when its vectors are gone. Can be repeated after a failure."""
        return self._api.call(calls.DELETE_DOCUMENT, document_id=document_id)

    def reprocess(self, document_id: str) -> Begun:
        return self._api.call(calls.REPROCESS, document_id=document_id)

    def text(
        self, document_id: str, *, version: int | None = None, page: int | None = None, clean: bool = False
    ) -> Iterator[TextPage]:
        """What was extracted, page by page; `clean`: as it was split, which is what offsets of chunks count in."""
        query = {"version": version, "page": page, "clean": "true" if clean else None}
        return items(self._api, calls.READ_TEXT, query, document_id=document_id)

    def chunks(self, document_id: str, *, version: int | None = None, page: int | None = None) -> Iterator[Chunk]:
        return items(self._api, calls.READ_CHUNKS, {"version": version, "page": page}, document_id=document_id)

    def link(self, document_id: str, *, version: int | None = None) -> Download:
        """A URL from which anybody can download the document, for a while."""
        return self._api.call(calls.DOWNLOAD, query={"version": version}, document_id=document_id)

    def download(
        self,
        document_id: str,
        path: Path,
        *,
        version: int | None = None,
        on_bytes: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Save the document's bytes as `path`, which is there whole or not at all. `on_bytes` hears of each piece."""
        self.save(self.link(document_id, version=version), path, on_bytes)

    def save(self, link: Download, path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """As `download`, of a link that is still good."""
        self._store.fetch(link.download_url, path, on_bytes)
