"""Bindings, for admins: whose the drops under a prefix are, and in which knowledge base."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from common import access, audit, bindings, paging
from common.access import Role
from common.http import Call

# Where the routes of router/table.py look.
WATCHED = ("incoming/",)

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class BindingRequest(msgspec.Struct, kw_only=True):
    """`prefix`: of keys, as in incoming/invoices/. `knowledge_base_id`: its id or name. `user_id`: whose the documents
    will be, by id or username; default: the base's owner. `bucket_name`: default: the one that uploads go to."""

    prefix: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    knowledge_base_id: _Text
    user_id: _Text | None = None
    bucket_name: _Text | None = None


class BindingView(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    bucket_name: str
    prefix: str
    knowledge_base_id: str
    knowledge_base_name: str
    user_id: str
    username: str
    created_at: datetime


class BindingQuery(msgspec.Struct, kw_only=True):
    cursor: paging.Cursor | None = None
    limit: paging.Limit = 50


class BindingPage(msgspec.Struct, kw_only=True, frozen=True):
    items: list[BindingView]
    next_cursor: str | None


def create_binding(call: Call, body: BindingRequest) -> BindingView:
    """Say where what other systems drop under a prefix goes from now on. Of several the longest prefix counts.

    A knowledge base that is deleted is passed over; what no binding fits goes into the default one.
    """
    bucket = body.bucket_name or call.services.settings.bucket
    with call.services.database.transaction() as connection:
        base_id = access.find_base(connection, call.caller, body.knowledge_base_id, Role.EDITOR)
        row = bindings.bind(
            connection, bucket=bucket, prefix=body.prefix, base_id=base_id, owner=body.user_id, watched=WATCHED
        )
        told = {"bucket": bucket, "prefix": body.prefix, "knowledge_base_id": base_id, "user_id": row["user_id"]}
        audit.record(connection, call.caller, "binding.create", row["id"], **told)
    return BindingView(**row)


def list_bindings(call: Call, query: BindingQuery) -> BindingPage:
    """All bindings."""
    position = paging.after(query.cursor)
    with call.services.database.transaction() as connection:
        rows = bindings.read(connection, position=position, limit=query.limit)
    shown, following = paging.cut(rows, query.limit)
    return BindingPage(items=[BindingView(**row) for row in shown], next_cursor=following)


def delete_binding(call: Call) -> None:
    """Forget a binding. What came by it stays where it is."""
    binding_id = call.path["binding_id"]
    with call.services.database.transaction() as connection:
        gone = bindings.unbind(connection, binding_id)
        audit.record(
            connection, call.caller, "binding.delete", binding_id, bucket=gone["bucket_name"], prefix=gone["prefix"]
        )
