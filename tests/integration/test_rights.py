"""Every route, asked from the outside by everybody: who is let in is what its rule says, and no route is without one.

A new endpoint needs nothing here if its rule says all. One that takes a base, a document or a user in its body or query
looks after that itself, and needs a line in ADDRESSED; one that is in no table of router/web/endpoints.py, in OPEN.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from common.access import Role, Subject
from common.principal import Scope
from common.settings import Settings
from router.app import create_app
from router.web.contract import contract_of
from router.web.endpoints import ENDPOINTS, FORMS, PREFIXES, STREAMS, Form, StreamEndpoint
from router.web.rules import Rule
from tests.integration.system import System
from tests.integration.world import Caller, Line, Place, World, upload

pytestmark = pytest.mark.integration

LINES: tuple[Line, ...] = (*ENDPOINTS, *FORMS, *STREAMS)

# Routes of no table: anybody may call them, but the webhook, which has a token of its own.
OPEN = {
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    *(("GET", f"/docs/{file}") for file in ("start.js", "swagger-ui-bundle.js", "swagger-ui.css", "index.css")),
    ("GET", "/docs/favicon-32x32.png"),
}
WEBHOOK = ("POST", "/events/s3")
OIDC = {("GET", "/v1/auth/oidc/login"), ("GET", "/v1/auth/oidc/callback")}  # tests/integration/test_oidc.py
ROOT_SOCKET = ("WS", "/ws/tasks/{task_id}")

PUBLIC = {"/auth/token"}
ADMINS = ("/users", "/audit", "/dead-letters", "/bindings")
# Calls that change nothing though they are no GET.
READING = {("POST", "/search"), ("POST", "/knowledge-bases/{knowledge_base_id}/search"), ("WS", "/ws/tasks/{task_id}")}
# In a body or query, these name what is somebody's.
NAMING = {"knowledge_base_id", "knowledge_base_ids", "document_id", "document_ids", "task_id", "user_id", "created_by"}


@pytest.fixture(scope="module")
def world(system: System) -> Iterator[World]:
    world = World(system)

    def person(name: str, role: int) -> Caller:
        user = system.http.post("/v1/users", json={"username": f"{name}-{uuid4()}"}).json()["id"]
        return Caller(name, key(user, ["read", "write"]), user, role, frozenset({Scope.READ, Scope.WRITE}))

    def key(user: str, scopes: list[str]) -> str:
        made = system.http.post("/v1/keys", json={"name": "test", "user_id": user, "scopes": scopes})
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    def with_scopes(of: Caller, *scopes: Scope) -> Caller:
        made = key(of.user_id, list(scopes))
        return replace(of, name=f"{of.name} with {'+'.join(scopes)}", key=made, scopes=frozenset(scopes))

    world.callers += [Caller("nobody", ""), person("stranger", 0), *(person(role.name.lower(), role) for role in Role)]
    admin = Caller("admin", system.key, "admin", is_admin=True)
    world.callers += [admin, with_scopes(admin, Scope.READ, Scope.WRITE), with_scopes(admin, Scope.ADMIN)]
    world.callers += [with_scopes(world["owner"], scope) for scope in (Scope.READ, Scope.WRITE)]
    wrong = "bb_" + "a" * 43
    world.callers += [
        Caller("wrong key", wrong),
        replace(world["owner"], name="wrong token", key="eyJhbGciOiJub25lIn0.e30."),
    ]
    yield world
    world.http.close()


def expected(rule: Rule, caller: Caller) -> int:
    if rule.scope is None:
        return 200
    if caller.name in ("nobody", "wrong key", "wrong token"):
        return 401
    if rule.scope not in caller.scopes or (rule.scope is Scope.ADMIN and not caller.is_admin):
        return 403
    sees_all = caller.is_admin and Scope.ADMIN in caller.scopes
    return 403 if rule.subject and not sees_all and caller.role < rule.role else 200


def named(line: Line) -> str:
    return f"{line.method} {line.path}"


@pytest.mark.parametrize("line", LINES, ids=named)
def test_who_is_let_in_is_what_the_rule_says(world: World, line: Line) -> None:
    shared = world.place()  # for those who change nothing, since they are refused
    wanted = {caller.name: expected(line.rule, caller) for caller in world.callers}
    told = {
        caller.name: world.outcome(
            caller, line, world.place() if line.rule.subject and wanted[caller.name] == 200 else shared
        )
        for caller in world.callers
    }
    assert told == wanted


@pytest.mark.parametrize("line", [line for line in LINES if line.rule.subject], ids=named)
def test_what_does_not_exist_is_not_there_for_anybody(world: World, line: Line) -> None:
    nothing = Place(*(str(uuid4()) for _ in range(4)))
    for name in ("stranger", "owner", "admin"):
        path = "/v1" + line.path.format_map(vars(nothing))
        if line.method == "WS":
            assert world.socket(world[name], path) == 404
        else:
            answer = world.ask(world[name], line.method, path, **({} if line.method == "GET" else {"json": {}}))
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("prefix", [*PREFIXES[1:], ""])
def test_no_other_way_to_a_route_is_open(world: World, prefix: str) -> None:
    place = world.place()
    for line in LINES:
        if line.rule.scope is not None and (prefix or (line.method, line.path) == ROOT_SOCKET):
            assert world.outcome(world["nobody"], line, place, prefix) == 401, line
            if line.rule.subject:
                assert world.outcome(world["stranger"], line, place, prefix) == 403, line


def test_every_route_of_the_application_is_in_a_table() -> None:
    secret = SecretStr("s" * 32)
    app = create_app(
        Settings(jwt_secret=secret, oidc_issuer="https://a.example", oidc_client_id="a", oidc_client_secret=secret)
    )
    in_tables = {(line.method, prefix + line.path) for prefix in PREFIXES for line in LINES}
    assert set(routes(app.routes)) == in_tables | OPEN | OIDC | {WEBHOOK, ROOT_SOCKET}


def routes(those: typing.Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in those:
        if isinstance(route, Mount):
            yield from routes(route.routes, prefix + route.path)
        elif isinstance(route, WebSocketRoute):
            yield "WS", prefix + route.path
        else:
            assert isinstance(route, Route)
            for method in (route.methods or {"GET"}) - {"HEAD", "OPTIONS"}:
                yield method, prefix + route.path


@pytest.mark.parametrize("line", LINES, ids=named)
def test_a_rule_looks_at_what_the_path_names_and_asks_enough(line: Line) -> None:
    names = [subject for subject in Subject if f"{{{subject}}}" in line.path]
    assert names == ([line.rule.subject] if line.rule.subject else [])
    assert (line.rule.scope is None) == (line.path in PUBLIC)
    assert (line.rule.scope is Scope.ADMIN) == line.path.startswith(ADMINS)
    if line.rule.scope is Scope.READ:
        assert line.method == "GET" or (line.method, line.path) in READING
    if line.rule.scope is Scope.WRITE and line.rule.subject and line.path.rpartition("/")[2] != "{user_id}":
        assert line.rule.role >= Role.EDITOR


@pytest.mark.parametrize(("method", "path"), sorted(OPEN))
def test_what_is_open_is_so_for_anybody(world: World, method: str, path: str) -> None:
    assert world.ask(world["nobody"], method, path).status_code in (200, 503)  # readyz may have found something


def test_the_webhook_takes_no_key_but_its_own_token(world: World) -> None:
    method, path = WEBHOOK
    for caller in world.callers:
        assert world.ask(caller, method, path, json={}).status_code == 401
    token = world.system.environment["BRIGADE_EVENTS_TOKEN"]
    for shown, status in ((token, 200), (world.system.key, 401), (token + "a", 401), ("a", 401)):
        headers = {"Authorization": f"Bearer {shown}"}
        assert httpx.post(world.system.url + path, headers=headers, json={}).status_code == status


# What the rule cannot see.


def batch(base: str) -> dict[str, Any]:
    return {"json": {"files": [upload(base)]}}


def form(base: str) -> dict[str, Any]:
    return {"files": {"file": ("a.txt", b"a")}, "data": {"knowledge_base_id": base}}


def search(base: str) -> dict[str, Any]:
    return {"json": {"query": "a", "mode": "keyword", "knowledge_base_ids": [base]}}


# The lines that take what is somebody's elsewhere than in the path: the role that they need in that base, and how to
# ask. None: see the tests that are named.
ADDRESSED: dict[tuple[str, str], tuple[Role, Any] | None] = {
    ("POST", "/uploads"): (Role.EDITOR, lambda base: {"json": upload(base)}),
    ("POST", "/uploads/batch"): (Role.EDITOR, batch),
    ("POST", "/documents/upload"): (Role.EDITOR, form),
    ("POST", "/search"): (Role.READER, search),
    ("GET", "/tasks"): None,  # below
    ("GET", "/documents"): None,
    # Of documents that are not in the bases searched nothing is found: tests/integration/test_search.py.
    ("POST", "/knowledge-bases/{knowledge_base_id}/search"): None,
    ("POST", "/keys"): None,  # tests/integration/test_people.py
    ("GET", "/keys"): None,
    ("GET", "/audit"): None,  # for admins
    ("GET", "/dead-letters"): None,
    ("POST", "/bindings"): None,  # for admins; tests/integration/test_bindings.py
}


def test_every_line_that_takes_what_is_somebodys_in_its_body_or_query_is_tried() -> None:
    taking = {(line.method, line.path) for line in LINES if fields_of(line) & NAMING}
    assert taking == set(ADDRESSED)


def fields_of(line: Line) -> set[str]:
    if isinstance(line, StreamEndpoint):
        return set()
    if isinstance(line, Form):
        return set(fields(line.handler.form))
    contract = contract_of(line.handler)
    return {name for shape in (contract.body, contract.query) if shape is not None for name in fields(shape)}


def fields(shape: Any) -> Iterator[str]:
    """The names of all fields, however deep."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        for one in msgspec.structs.fields(shape):
            yield one.encode_name
            yield from fields(one.type)
    for inner in typing.get_args(shape):
        yield from fields(inner)


@pytest.mark.parametrize("line", [line for line in ADDRESSED if ADDRESSED[line]], ids=" ".join)
def test_a_base_that_is_named_in_a_body_or_query_lets_in_who_has_the_role(world: World, line: tuple[str, str]) -> None:
    method, path = line
    row = ADDRESSED[line]
    assert row
    role, asking = row
    base = world.place().knowledge_base_id
    for caller in (world["stranger"], world["reader"], world["editor"], world["owner"], world["admin"]):
        answer = world.ask(caller, method, f"/v1{path}", **asking(base))
        allowed = caller.is_admin or caller.role >= role
        # To who has no role in it, it does not exist.
        wanted = {200, 201} if allowed else {403} if caller.role else {404}
        assert answer.status_code in wanted, (caller.name, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        *("/documents", "/documents?user_id={owner}", "/tasks", "/tasks?created_by={owner}"),
        *("/tasks?document_id={document_id}", "/knowledge-bases"),
        *("/documents?knowledge_base_id={knowledge_base_id}", "/tasks?knowledge_base_id={knowledge_base_id}"),
    ],
)
def test_a_list_shows_what_is_shared_and_nothing_else(world: World, path: str) -> None:
    place = world.place()
    names = {"/documents": place.document_id, "/tasks": place.task_id, "/knowledge-bases": place.knowledge_base_id}
    wanted = names[path.partition("?")[0]]
    asked = "/v1" + path.format(owner=world["owner"].user_id, **vars(place))
    shown = {
        name: wanted in world.ask(world[name], "GET", asked).text
        for name in ("nobody", "stranger", "reader", "owner", "admin", "admin with read+write")
    }
    assert shown == {
        **dict.fromkeys(("nobody", "stranger", "admin with read+write"), False),
        **dict.fromkeys(("reader", "owner", "admin"), True),
    }


def test_who_is_no_owner_gives_no_roles_and_takes_none_but_their_own(world: World) -> None:
    place = world.place()
    members = f"/v1/knowledge-bases/{place.knowledge_base_id}/members"
    for name in ("stranger", "reader", "editor"):
        given = world.ask(world[name], "PUT", f"{members}/{world[name].user_id}", json={"role": "owner"})
        taken = world.ask(world[name], "DELETE", f"{members}/{world['owner'].user_id}")
        assert (given.status_code, taken.status_code) == (403, 403), name
    assert world.ask(world["reader"], "DELETE", f"{members}/{world['editor'].user_id}").status_code == 403
    assert world.ask(world["reader"], "DELETE", f"{members}/{world['reader'].user_id}").status_code == 204
    assert world.ask(world["reader"], "GET", f"/v1/documents/{place.document_id}").status_code == 403
