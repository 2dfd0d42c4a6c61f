"""Knowledge bases, who else may read or change them, and which drops go into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from deploy.client import calls
from deploy.client.pages import items
from deploy.client.people_shapes import BaseDeletion, Binding, Chunking, KnowledgeBase, Member
from deploy.client.transport import ApiError, Transport


class KnowledgeBases:
    def __init__(self, api: Transport) -> None:
        self._api = api

    def create(self, name: str, *, description: str = "", chunking: Chunking | None = None) -> KnowledgeBase:
        """`chunking` None: the server's."""
        body = {"name": name, "description": description, "chunking": chunking and asdict(chunking)}
        return self._api.call(calls.CREATE_BASE, body)

    def list(self) -> Iterator[KnowledgeBase]:
        """The caller's own and those that are shared with them, the newest first."""
        return items(self._api, calls.LIST_BASES, {})

    def get(self, knowledge_base_id: str) -> KnowledgeBase:
        return self._api.call(calls.GET_BASE, knowledge_base_id=knowledge_base_id)

    def find(self, name: str) -> KnowledgeBase:
        """By name or id: the caller's own before those of others. Raises `ApiError` (404) if there is none."""
        named = [base for base in self.list() if name in (base.id, base.name)]
        if not named:
            raise ApiError(404, f"There is no knowledge base {name!r}.", "NOT_FOUND")
        return min(named, key=lambda base: (base.id != name, base.role != "owner"))

    def update(
        self,
        knowledge_base_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        chunking: Chunking | None = None,
    ) -> KnowledgeBase:
        """What is None stays."""
        changes: dict[str, Any] = {
            "name": name,
            "description": description,
            "chunking": chunking and asdict(chunking),
        }
        given = {field: value for field, value in changes.items() if value is not None}
        return self._api.call(calls.CHANGE_BASE, given, knowledge_base_id=knowledge_base_id)

    def delete(self, knowledge_base_id: str) -> BaseDeletion:
        """With all its documents."""
        return self._api.call(calls.DELETE_BASE, knowledge_base_id=knowledge_base_id)

    def reindex(self, knowledge_base_id: str) -> KnowledgeBase:
        """Process all its documents again, with its present options and the present model."""
        return self._api.call(calls.REINDEX_BASE, knowledge_base_id=knowledge_base_id)

    def members(self, knowledge_base_id: str) -> Iterator[Member]:
        return items(self._api, calls.LIST_MEMBERS, {}, knowledge_base_id=knowledge_base_id)

    def share(self, knowledge_base_id: str, user: str, role: str = "reader") -> Member:
        """Give somebody, by id or username, a role: reader, editor or owner."""
        return self._api.call(calls.PUT_MEMBER, {"role": role}, knowledge_base_id=knowledge_base_id, user_id=user)

    def unshare(self, knowledge_base_id: str, user: str) -> None:
        self._api.call(calls.REMOVE_MEMBER, knowledge_base_id=knowledge_base_id, user_id=user)

    # Where drops go, for admins

    def bindings(self) -> Iterator[Binding]:
        """The newest first."""
        return items(self._api, calls.LIST_BINDINGS, {})

    def bind(self, prefix: str, knowledge_base: str, *, owner: str | None = None, bucket: str | None = None) -> Binding:
        """Drops under `prefix` go into this base, by id or name. `owner`: by id or username; None: the base's.
        `bucket` None: the one that uploads go to."""
        body = {"prefix": prefix, "knowledge_base_id": knowledge_base, "user_id": owner, "bucket_name": bucket}
        return self._api.call(calls.CREATE_BINDING, body)

    def unbind(self, binding_id: str) -> None:
        self._api.call(calls.DELETE_BINDING, binding_id=binding_id)
