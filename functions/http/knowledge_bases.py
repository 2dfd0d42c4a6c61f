"""Knowledge bases: made, listed, changed, shared, deleted with all that is in them."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import Connection, RowMapping

from common import access, audit, knowledge_bases, paging, reindexing
from common.access import Role, Subject
from common.chunking import Boundary, Chunking, largest
from common.errors import NotFound, Refused, RequestError
from common.http import Call
from common.knowledge_bases import Present
from common.services import Services

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Description = Annotated[str, msgspec.Meta(max_length=10_000)]
_RoleName = Literal["owner", "editor", "reader"]


class ChunkingView(msgspec.Struct, kw_only=True, frozen=True):
    """Tokens of the embedding model: the largest chunk, and how much of one its successor repeats. `by`: a chunk ends
    with its section and its page (heading), or with its page only.

    For what is processed from now on; documents that are there keep their chunks until the base is re-indexed:
    POST /knowledge-bases/{knowledge_base_id}/reindex.
    """

    size: Annotated[int, msgspec.Meta(ge=16, le=1 << 16)]
    overlap: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)] = 0
    by: Boundary = "heading"


class ReindexingView(msgspec.Struct, kw_only=True, frozen=True):
    """`remaining`: documents that are still to be processed again, or being so."""

    remaining: int
    since: datetime


class BaseView(msgspec.Struct, kw_only=True, frozen=True):
    """`role`: the caller's; null for an admin who has none. `chunk_count`: of the versions that search shows.

    `stale`: documents whose chunks were made with other options, or another model, than would be now. `reindexing`:
    null unless they are being processed again.
    """

    id: str
    name: str
    description: str
    chunking: ChunkingView
    role: _RoleName | None
    owner_id: str
    created_at: datetime
    document_count: int
    chunk_count: int
    stale: int
    reindexing: ReindexingView | None


class BasePage(msgspec.Struct, kw_only=True, frozen=True):
    items: list[BaseView]
    next_cursor: str | None


class BaseRequest(msgspec.Struct, kw_only=True):
    """`chunking`: null, this server's."""

    name: _Name
    description: _Description = ""
    chunking: ChunkingView | None = None


class BaseChange(msgspec.Struct, kw_only=True):
    """What is left out stays. `chunking`: null, back to this server's."""

    name: _Name | msgspec.UnsetType = msgspec.UNSET
    description: _Description | msgspec.UnsetType = msgspec.UNSET
    chunking: ChunkingView | msgspec.UnsetType | None = msgspec.UNSET


class PageQuery(msgspec.Struct, kw_only=True):
    cursor: paging.Cursor | None = None
    limit: paging.Limit = 50


class BaseDeletion(msgspec.Struct, kw_only=True, frozen=True):
    """`task_ids`: those that delete its documents; of a very large base the first, and more follow by themselves."""

    knowledge_base_id: str
    task_ids: list[str]


def create_base(call: Call, body: BaseRequest) -> BaseView:
    """Make a knowledge base; the caller owns it."""
    chunking = _checked(call.services, body.chunking)
    name = _clean(body.name)
    with call.services.database.transaction() as connection:
        base_id = knowledge_bases.create(
            connection, call.caller.user_id, name=name, description=body.description, chunking=chunking
        )
        audit.record(connection, call.caller, "knowledge_base.create", base_id, name=name)
        return _read(call, connection, base_id)


def list_bases(call: Call, query: PageQuery) -> BasePage:
    """The caller's own and those that are shared with them."""
    position = paging.after(query.cursor)
    with call.services.database.transaction() as connection:
        rows = knowledge_bases.read_bases(
            connection, call.caller, _present(call.services), position=position, limit=query.limit
        )
    shown, following = paging.cut(rows, query.limit)
    return BasePage(items=[_view(call.services, row) for row in shown], next_cursor=following)


def get_base(call: Call) -> BaseView:
    """A knowledge base."""
    with call.services.database.transaction() as connection:
        return _read(call, connection, call.path["knowledge_base_id"])


def change_base(call: Call, body: BaseChange) -> BaseView:
    """Rename or describe a knowledge base, or split its documents otherwise from now on.

    Those that are there keep their chunks until the base is re-indexed.
    """
    base_id = call.path["knowledge_base_id"]
    name = None if body.name is msgspec.UNSET else _clean(body.name)
    chunking = None if body.chunking is msgspec.UNSET else _checked(call.services, body.chunking)
    with call.services.database.transaction() as connection:
        knowledge_bases.change(
            connection,
            base_id,
            name=name,
            description=None if body.description is msgspec.UNSET else body.description,
            chunking=chunking,
            rechunk=body.chunking is not msgspec.UNSET,
        )
        changed = [field for field in body.__struct_fields__ if getattr(body, field) is not msgspec.UNSET]
        audit.record(connection, call.caller, "knowledge_base.change", base_id, changed=changed)
        return _read(call, connection, base_id)


def reindex_base(call: Call) -> BaseView:
    """Process all documents of a knowledge base again, with its present options and the present model.

    Search shows of each what there was until the new is complete. Asked again, it begins anew.
    """
    base_id = call.path["knowledge_base_id"]
    with call.services.database.transaction() as connection:
        reindexing.mark(connection, base_id)
        audit.record(connection, call.caller, "knowledge_base.reindex", base_id)
        return _read(call, connection, base_id)


def delete_base(call: Call) -> BaseDeletion:
    """Delete a knowledge base with all its documents. It is out of sight at once."""
    base_id = call.path["knowledge_base_id"]
    with call.services.database.transaction() as connection:
        knowledge_bases.delete(connection, base_id)
        begun = knowledge_bases.empty(
            connection, base_id, call.pipelines["DOCUMENT_DELETE"], user_id=call.caller.user_id
        )
        audit.record(connection, call.caller, "knowledge_base.delete", base_id, documents=len(begun))
    call.send(begun)
    return BaseDeletion(knowledge_base_id=base_id, task_ids=[ref.task_id for ref in begun])


class MemberView(msgspec.Struct, kw_only=True, frozen=True):
    user_id: str
    username: str
    role: _RoleName


class MemberPage(msgspec.Struct, kw_only=True, frozen=True):
    items: list[MemberView]
    next_cursor: str | None


class MemberRequest(msgspec.Struct, kw_only=True):
    """A reader searches and reads, an editor uploads, changes and deletes documents, an owner shares the base."""

    role: _RoleName


def list_members(call: Call, query: PageQuery) -> MemberPage:
    """Who has a role in a knowledge base."""
    position = paging.after(query.cursor)
    with call.services.database.transaction() as connection:
        rows = knowledge_bases.read_members(
            connection, call.path["knowledge_base_id"], position=position, limit=query.limit
        )
    shown, following = paging.cut(rows, query.limit)
    items = [MemberView(user_id=row["id"], username=row["username"], role=row["role"]) for row in shown]
    return MemberPage(items=items, next_cursor=following)


def put_member(call: Call, body: MemberRequest) -> MemberView:
    """Give somebody, by id or username, a role in a knowledge base, or another one than they have."""
    base_id = call.path["knowledge_base_id"]
    with call.services.database.transaction() as connection:
        person = knowledge_bases.set_member(connection, base_id, call.path["user_id"], Role[body.role.upper()])
        audit.record(connection, call.caller, "member.put", base_id, user_id=person["id"], role=body.role)
    return MemberView(user_id=person["id"], username=person["username"], role=body.role)


def remove_member(call: Call) -> None:
    """Take somebody's role away: an owner anybody's, everybody their own."""
    base_id = call.path["knowledge_base_id"]
    with call.services.database.transaction() as connection:
        if call.path["user_id"] != call.caller.user_id:
            access.demand(connection, call.caller, Subject.KNOWLEDGE_BASE, base_id, Role.OWNER)
        user_id = knowledge_bases.remove_member(connection, base_id, call.path["user_id"])
        audit.record(connection, call.caller, "member.remove", base_id, user_id=user_id)


def _read(call: Call, connection: Connection, base_id: str) -> BaseView:
    row = knowledge_bases.read_base(connection, call.caller, base_id, _present(call.services))
    return _view(call.services, row)


def _present(services: Services) -> Present:
    return Present(Chunking.usual(services.settings), largest(services.tokens.max_tokens), services.index.name)


def _view(services: Services, row: RowMapping | None) -> BaseView:
    if row is None:
        raise NotFound("There is no such knowledge base.")
    known = dict(row)
    size, overlap, by = (known.pop(f"chunk_{field}") for field in ("size", "overlap", "by"))
    if size is None:
        usual = Chunking.usual(services.settings).within(services.tokens.max_tokens)
        size, overlap, by = usual.size, usual.overlap, usual.by
    since, remaining = known.pop("reindex_before"), known.pop("remaining")
    return BaseView(
        chunking=ChunkingView(size=size, overlap=overlap, by=by or "heading"),
        reindexing=None if since is None else ReindexingView(remaining=remaining, since=since),
        **known,
    )


def _clean(name: str) -> str:
    """Composed, and without what nobody sees."""
    clean = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cc").strip()
    if not clean:
        raise RequestError("A knowledge base needs a name.", code="INVALID_NAME")
    return clean


def _checked(services: Services, chunking: ChunkingView | None) -> Chunking | None:
    if chunking is None:
        return None
    most = largest(services.tokens.max_tokens)
    if chunking.size > most:
        raise Refused(
            f"Beside the headings above it, the embedding model takes {most} tokens at once: no chunk can be larger.",
            code="CHUNK_SIZE",
        )
    if chunking.overlap * 2 >= chunking.size:
        raise Refused("The overlap must be less than half of the size.", code="CHUNK_OVERLAP")
    return Chunking(chunking.size, chunking.overlap, chunking.by)
