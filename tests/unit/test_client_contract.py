"""The client in Python and the API's own table: neither can change without the other."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from common.http import decode_body, decode_query
from common.task_views import TaskView
from deploy.client import Chunking, Client, calls
from deploy.client.shapes import Page
from deploy.client.transport import Operation
from router.web.contract import Contract, contract_of
from router.web.endpoints import ENDPOINTS, STREAMS

OPERATIONS = {name: one for name, one in vars(calls).items() if isinstance(one, Operation)}
TABLE = {(endpoint.method, endpoint.path): contract_of(endpoint.handler) for endpoint in ENDPOINTS}
# What a stream's events hold.
TABLE |= {(stream.method, stream.path): Contract(None, None, TaskView) for stream in STREAMS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_call_is_one_of_the_api_and_its_shape_is_what_that_answers(name: str) -> None:
    operation = OPERATIONS[name]
    contract = TABLE[operation.method, operation.path]
    if operation.answer is type(None):
        assert contract.answer in (None, type(None))
    else:
        compare(operation.answer, contract.answer)


def compare(mine: Any, theirs: Any) -> None:
    """Every field of mine is one of theirs; what they may leave out, or tell as null, I do not insist on."""
    origin = typing.get_origin(mine)
    if origin is Page:
        (item,) = typing.get_args(mine)
        answer = fields_of(theirs)
        assert answer.keys() >= {"items", "next_cursor"}
        compare(item, typing.get_args(answer["items"].type)[0])
    elif dataclasses.is_dataclass(mine):
        hints = typing.get_type_hints(mine)
        answer = fields_of(theirs)
        for field in dataclasses.fields(mine):
            assert field.name in answer, f"{theirs.__name__} has no {field.name}"
            insists = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            always = answer[field.name].required or not theirs.__struct_config__.omit_defaults
            assert always or not insists, f"{theirs.__name__} may leave out {field.name}"
            told = plain(answer[field.name].type)
            if type(None) in told:
                assert type(None) in plain(hints[field.name]), f"{field.name} may be null"
            for one, other in zip(shapes(hints[field.name]), shapes(answer[field.name].type), strict=True):
                compare(one, other)
            assert arrays(hints[field.name]) == arrays(answer[field.name].type), field.name


def fields_of(struct: Any) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def plain(kind: Any) -> tuple[Any, ...]:
    """The members of a union; else the type."""
    return typing.get_args(kind) if type(None) in typing.get_args(kind) else (kind,)


def shapes(kind: Any) -> list[Any]:
    """The dataclasses and structs in a type."""
    if dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return [kind]
    return [shape for inner in typing.get_args(kind) for shape in shapes(inner)]


def arrays(kind: Any) -> list[tuple[Any, ...]]:
    """The types in each tuple in a type, whether its members have names or not."""
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return [tuple(typing.get_type_hints(kind).values())]
    if typing.get_origin(kind) is tuple:
        return [typing.get_args(kind)]
    return [array for inner in typing.get_args(kind) for array in arrays(inner)]


# By the name of its shape: what the client leaves out of an answer as it tells nothing.
LEFT_OUT = {("Download", "success")}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_client_knows_all_that_an_answer_tells(name: str) -> None:
    operation = OPERATIONS[name]
    assert set(unknown(operation.answer, TABLE[operation.method, operation.path].answer)) <= LEFT_OUT


def unknown(mine: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    """The fields of theirs that are none of mine, by their shape's name. Of a list's page, those of its items."""
    if typing.get_origin(mine) is Page:
        (mine,), theirs = typing.get_args(mine), typing.get_args(fields_of(theirs)["items"].type)[0]
    if not dataclasses.is_dataclass(mine):
        return
    hints = typing.get_type_hints(mine)
    for name, field in fields_of(theirs).items():
        if name not in hints:
            yield theirs.__name__, name
            continue
        for one, other in zip(shapes(hints[name]), shapes(field.type), strict=True):
            yield from unknown(one, other)


MOMENT = datetime(2026, 11, 22, 8, tzinfo=UTC)
CALLS: list[Callable[[Client], object]] = [
    lambda c: c.uploads.announce(
        "a", 1, "text/plain", "b", sha256="0" * 64, metadata={"n": 1}, method="post", allow_duplicate=True
    ),
    lambda c: c.announce("a", 1, "text/plain"),
    lambda c: c.uploads.progress("d"),
    lambda c: c.uploads.sign("d", [1, 2]),
    lambda c: c.uploads.complete("d"),
    lambda c: c.uploads.abort("d"),
    lambda c: list(
        c.documents.list(
            knowledge_base="b",
            status="FAILED",
            file_type="pdf",
            q="水",
            user_id="u",
            parent_id="p",
            created_after=MOMENT,
            created_before=MOMENT,
        )
    ),
    lambda c: c.documents.get("d/?#%"),
    lambda c: c.documents.update("d", name="n", metadata={}),
    lambda c: c.documents.update("d"),
    lambda c: c.documents.delete("d"),
    lambda c: c.documents.reprocess("d"),
    lambda c: c.documents.link("d", version=2),
    lambda c: list(c.documents.text("d", version=1, page=2, clean=True)),
    lambda c: list(c.documents.chunks("d", version=1, page=2)),
    lambda c: list(
        c.tasks.list(
            status=["PENDING", "RUNNING"],
            type="DOCUMENT_UPLOAD",
            document_id="d",
            knowledge_base_id="b",
            created_by="u",
            created_after=MOMENT,
            created_before=MOMENT,
        )
    ),
    lambda c: c.tasks.get("t"),
    lambda c: c.tasks.stats(hours=1.5),
    lambda c: c.tasks.cancel("t"),
    lambda c: c.tasks.retry("t"),
    lambda c: next(c.tasks.events("t")),
    lambda c: c.search(
        "q",
        top_k=3,
        mode="dense",
        knowledge_base=["b", "c"],
        documents=["d"],
        filters={"file_type": "pdf"},
        neighbours=1,
        cursor="x",
    ),
    lambda c: c.search("q", knowledge_base="b"),
    lambda c: next(c.passages("q", neighbours=2)),
    lambda c: c.knowledge_bases.create("n", description="d", chunking=Chunking(256, 32)),
    lambda c: c.knowledge_bases.create("n"),
    lambda c: list(c.knowledge_bases.list()),
    lambda c: c.knowledge_bases.get("b"),
    lambda c: c.knowledge_bases.update("b", name="n", description="d", chunking=Chunking(256, 32)),
    lambda c: c.knowledge_bases.delete("b"),
    lambda c: c.knowledge_bases.reindex("b"),
    lambda c: list(c.knowledge_bases.bindings()),
    lambda c: c.knowledge_bases.bind("incoming/x/", "b", owner="u", bucket="other"),
    lambda c: c.knowledge_bases.unbind("i"),
    lambda c: list(c.knowledge_bases.members("b")),
    lambda c: c.knowledge_bases.share("b", "u", "editor"),
    lambda c: c.knowledge_bases.unshare("b", "u"),
    lambda c: c.log_in("u", "password").close(),
    lambda c: c.people.log_out(),
    lambda c: c.people.me(),
    lambda c: c.people.change_password("old", "a new password"),
    lambda c: c.people.create_key("n", scopes=["read"], expires_in_days=3, user_id="u"),
    lambda c: c.people.keys("u"),
    lambda c: c.people.revoke_key("p"),
    lambda c: c.people.create_user("u", password="a new password", is_admin=True),
    lambda c: list(c.people.users("u")),
    lambda c: c.people.user("u"),
    lambda c: c.people.change_user("u", password="a new password", disabled=True, is_admin=False),
    lambda c: c.people.remove_user("u"),
    lambda c: list(c.dead_letters.list(queue="q", code="c", task_id="t", state="open")),
    lambda c: c.dead_letters.get("l"),
    lambda c: c.dead_letters.redrive("l"),
    lambda c: c.dead_letters.redrive_these(["l"]),
    lambda c: c.dead_letters.redrive_all(queue="q", code="c"),
    lambda c: c.dead_letters.redrive_all(),
    lambda c: c.dead_letters.forget("l"),
    lambda c: list(c.people.audit(user_id="u", action="a", subject="s", since=MOMENT, until=MOMENT)),
]


class Api:
    """Takes a call as the API does, by the shapes of its endpoint, and answers the least that its shape allows."""

    def __init__(self) -> None:
        self.called: set[tuple[str, str]] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0].removeprefix("/v1")
        method, template = next(
            (method, known)
            for method, known in TABLE
            if method == request.method and fits(path.split("/"), known.split("/"))
        )
        self.called.add((method, template))
        contract = TABLE[method, template]
        if contract.body is not None:
            decode_body(request.content, contract.body)
        else:
            assert not request.content
        query = list(request.url.params.multi_items())
        if contract.query is not None:
            decode_query(query, contract.query)
        else:
            assert not query
        if contract.answer in (None, type(None)):
            return httpx.Response(204)
        answer = least(msgspec.inspect.type_info(contract.answer))
        if template.endswith("/events"):
            return httpx.Response(200, text=f"event: task_update\nid: 1\ndata: {json.dumps(answer)}\n\n")
        return httpx.Response(200, json=answer)


def fits(path: list[str], template: list[str]) -> bool:
    return len(path) == len(template) and all(
        known == one or known.startswith("{") for one, known in zip(path, template, strict=True)
    )


_SIMPLE: dict[type, Any] = {
    msgspec.inspect.DictType: {},
    msgspec.inspect.DateTimeType: MOMENT.isoformat(),
    msgspec.inspect.BoolType: True,
    msgspec.inspect.IntType: 1,
    msgspec.inspect.FloatType: 1.5,
    msgspec.inspect.StrType: "x",
    msgspec.inspect.AnyType: "x",
}


def least(kind: msgspec.inspect.Type) -> Any:
    """The least that a value of this type is as JSON: null where that may be, nothing where it may be left out."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            return None if any(isinstance(one, msgspec.inspect.NoneType) for one in types) else least(types[0])
        case msgspec.inspect.StructType(cls=struct, fields=fields):
            omits = struct.__struct_config__.omit_defaults
            return {field.encode_name: least(field.type) for field in fields if field.required or not omits}
        case msgspec.inspect.ListType(item_type=item):
            return [least(item)]
        case msgspec.inspect.TupleType(item_types=items):
            return [least(item) for item in items]
        case msgspec.inspect.NamedTupleType(fields=members):
            return [least(member.type) for member in members]
        case msgspec.inspect.LiteralType(values=values):
            return values[0]
        case msgspec.inspect.NoneType():
            return None
        case _:
            return _SIMPLE[type(kind)]


def test_what_each_call_sends_is_what_the_api_takes_and_its_least_answer_is_read() -> None:
    api = Api()
    with Client("http://example.test", "key", transport=httpx.MockTransport(api)) as client:
        for call in CALLS:
            call(client)
    assert {(one.method, one.path) for one in OPERATIONS.values()} == api.called


def test_every_call_of_the_api_can_be_made_by_the_client() -> None:
    known = {(one.method, one.path) for one in OPERATIONS.values()}
    elsewhere = {
        ("POST", "/uploads/batch"),  # for pages that have chosen many files; the client announces each when it is sent
        ("POST", "/knowledge-bases/{knowledge_base_id}/search"),  # search, with that base named in its path
        ("GET", "/tasks/{task_id}/status"),  # a second name of another
        ("WS", "/ws/tasks/{task_id}"),  # the client takes the same as events
    }
    assert TABLE.keys() - known == elsewhere
