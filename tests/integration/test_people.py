"""People as they meet the API: logging in, passwords, keys, accounts, the audit log."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from argon2 import PasswordHasher
from typer.testing import CliRunner

from deploy.cli import app
from tests.integration.system import System, wait_for

pytestmark = pytest.mark.integration

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    id: str
    name: str
    base: str


@pytest.fixture
def person(system: System) -> Person:
    return made(system)


def made(system: System, **more: Any) -> Person:
    name = f"person-{uuid4()}"
    answer = system.http.post("/v1/users", json={"username": name, "password": PASSWORD, **more})
    assert answer.status_code == 201, answer.text
    user = answer.json()
    return Person(user["id"], name, user["default_knowledge_base_id"])


def login(system: System, name: str, password: str = PASSWORD) -> httpx.Response:
    return httpx.post(f"{system.url}/v1/auth/token", json={"username": name, "password": password}, timeout=30)


def token_of(system: System, person: Person, password: str = PASSWORD) -> str:
    return str(login(system, person.name, password).json()["access_token"])


def ask(system: System, credential: str, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {credential}"}
    return httpx.request(method, f"{system.url}/v1{path}", headers=headers, timeout=30, **options)


def refused(system: System, credential: str) -> bool:
    return ask(system, credential, "GET", "/me").status_code == 401


def test_who_logs_in_is_known_and_has_a_base_of_their_own(system: System, person: Person) -> None:
    answer = login(system, person.name)
    assert answer.status_code == 200
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 3600)
    me = ask(system, answer.json()["access_token"], "GET", "/me").json()
    assert me["user"]["id"] == person.id
    assert me["scopes"] == ["read", "write"]
    assert me["default_knowledge_base_id"] == person.base != "default"
    (base,) = system.sql("SELECT name, owner_id FROM knowledge_bases WHERE id = :id", id=person.base)
    assert tuple(base) == ("default", person.id)


def test_a_wrong_password_and_an_unknown_name_are_refused_alike_and_take_as_long(
    system: System, person: Person
) -> None:
    def attempt(name: str) -> tuple[float, httpx.Response]:
        started = time.monotonic()
        answer = login(system, name, "wrong")
        return time.monotonic() - started, answer

    attempt("nobody")  # what an unknown user's is compared with is made once
    quickest = {person.name: math.inf, "nobody": math.inf}
    messages = set()
    # In turn, and the quickest of each: what else the machine does slows down one or the other.
    for _ in range(12):
        for name in quickest:
            seconds, answer = attempt(name)
            quickest[name] = min(quickest[name], seconds)
            assert answer.status_code == 401
            messages.add(answer.json()["error"]["message"])
        if quickest["nobody"] > quickest[person.name] / 2:
            break
    assert len(messages) == 1
    assert quickest["nobody"] > quickest[person.name] / 2


def forged(system: System, person: Person, **change: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": "bucket-brigade",
        "aud": "bucket-brigade-api",
        "sub": person.id,
        "iat": now,
        "exp": now + 60,
        "jti": "1",
        "scope": "read write",
    }
    secret = system.environment["BRIGADE_JWT_SECRET"]
    key, algorithm = change.pop("key", secret), change.pop("algorithm", "HS256")
    claims |= change
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def test_a_token_made_by_hand_with_our_secret_passes(system: System, person: Person) -> None:
    assert not refused(system, forged(system, person))  # so each of the refusals below is for its one reason


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "none", "key": None},
        {"algorithm": "HS512"},
        {"key": "k" * 32},
        {"iss": "another"},
        {"aud": "another"},
        {"exp": 1},
        {"sub": str(uuid4())},
        {"jti": None},
        {"aud": None},
        {"exp": None},
        {"iat": None},
        {"iat": 1},
        {"scope": None},
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_token_that_is_not_wholly_right_is_refused(system: System, person: Person, change: dict[str, Any]) -> None:
    if change.get("iat"):
        assert ask(system, system.key, "PATCH", f"/users/{person.id}", json={"password": PASSWORD}).status_code == 200
    assert refused(system, forged(system, person, **change))


def test_a_token_with_a_scope_that_its_user_has_not_gives_no_more(system: System, person: Person) -> None:
    token = forged(system, person, scope="read write admin")
    assert ask(system, token, "GET", "/users").status_code == 403


def test_a_new_password_makes_older_tokens_void_and_the_old_password_useless(system: System, person: Person) -> None:
    token = token_of(system, person)
    change = {"current_password": PASSWORD, "new_password": "another one, longer"}
    wrong = ask(system, token, "POST", "/me/password", json=change | {"current_password": "wrong"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "WRONG_PASSWORD")
    assert ask(system, token, "POST", "/me/password", json=change).status_code == 204
    wait_for(lambda: refused(system, token), "the token is void", 2)
    assert login(system, person.name).status_code == 401
    assert not refused(system, token_of(system, person, "another one, longer"))


def test_logging_out_makes_tokens_void_and_leaves_keys(system: System, person: Person) -> None:
    token = token_of(system, person)
    key = ask(system, token, "POST", "/keys", json={"name": "k"}).json()["key"]
    assert ask(system, token, "POST", "/auth/logout").status_code == 204
    wait_for(lambda: refused(system, token), "the token is void", 2)
    assert not refused(system, key)
    assert not refused(system, token_of(system, person))


def test_who_is_disabled_is_out_and_who_is_enabled_has_their_keys_again(system: System, person: Person) -> None:
    token = token_of(system, person)
    key = ask(system, token, "POST", "/keys", json={"name": "k"}).json()["key"]
    assert not refused(system, key)
    assert system.http.patch(f"/v1/users/{person.id}", json={"disabled": True}).json()["disabled"]
    wait_for(lambda: refused(system, token) and refused(system, key), "both are refused", 2)
    assert login(system, person.name).status_code == 401
    assert not system.http.patch(f"/v1/users/{person.id}", json={"disabled": False}).json()["disabled"]
    assert not refused(system, key)
    assert refused(system, token)


def test_a_revoked_key_is_refused_as_soon_as_postgres_has_told(system: System, person: Person) -> None:
    token = token_of(system, person)
    key = ask(system, token, "POST", "/keys", json={"name": "k"}).json()
    assert not refused(system, key["key"])  # and remembered
    assert ask(system, token, "DELETE", f"/keys/{key['prefix']}").status_code == 204
    wait_for(lambda: refused(system, key["key"]), "the key is refused", 1)
    assert key["prefix"] not in {one["prefix"] for one in ask(system, token, "GET", "/keys").json()["items"]}


def test_a_key_is_shown_once_and_kept_as_a_hash(system: System, person: Person) -> None:
    token = token_of(system, person)
    key = ask(system, token, "POST", "/keys", json={"name": "k", "expires_in_days": 1}).json()
    listed = ask(system, token, "GET", "/keys").text
    assert key["prefix"] in listed
    assert key["key"] not in listed
    (row,) = system.sql(
        "SELECT *, expires_at - now() AS remains FROM api_keys WHERE prefix = :prefix", prefix=key["prefix"]
    )
    assert key["key"] not in str(row)
    assert 0 < row.remains.total_seconds() <= 86_400


def test_a_key_has_no_more_rights_than_who_made_it(system: System, person: Person) -> None:
    token = token_of(system, person)
    assert ask(system, token, "POST", "/keys", json={"name": "k", "scopes": ["admin"]}).status_code == 403
    writer = ask(system, token, "POST", "/keys", json={"name": "w", "scopes": ["write"], "expires_in_days": 1}).json()
    assert ask(system, writer["key"], "POST", "/keys", json={"name": "k", "scopes": ["read"]}).status_code == 403
    assert ask(system, writer["key"], "GET", "/me").status_code == 403
    heir = ask(system, writer["key"], "POST", "/keys", json={"name": "k", "expires_in_days": 30}).json()
    assert (heir["scopes"], heir["expires_at"]) == (["write"], writer["expires_at"])
    reader = ask(system, token, "POST", "/keys", json={"name": "r", "scopes": ["read"]}).json()["key"]
    assert ask(system, reader, "POST", "/keys", json={"name": "k"}).status_code == 403


def test_an_expired_key_is_refused(system: System, person: Person) -> None:
    key = ask(system, token_of(system, person), "POST", "/keys", json={"name": "k", "expires_in_days": 1}).json()
    system.sql("UPDATE api_keys SET expires_at = now() WHERE prefix = :prefix RETURNING 1", prefix=key["prefix"])
    assert refused(system, key["key"])


def test_keys_of_others_are_theirs_and_an_admins_to_see(system: System, person: Person) -> None:
    other = made(system)
    token = token_of(system, person)
    theirs = system.http.post("/v1/keys", json={"name": "by the admin", "user_id": other.id}).json()
    assert (theirs["user_id"], theirs["scopes"]) == (other.id, ["read", "write"])
    for answer in (
        ask(system, token, "GET", f"/keys?user_id={other.id}"),
        ask(system, token, "POST", "/keys", json={"name": "k", "user_id": other.id}),
    ):
        assert answer.status_code == 403
    assert ask(system, token, "DELETE", f"/keys/{theirs['prefix']}").status_code == 404
    assert not refused(system, theirs["key"])
    assert system.http.get(f"/v1/keys?user_id={other.id}").json()["items"][0]["prefix"] == theirs["prefix"]
    assert system.http.delete(f"/v1/keys/{theirs['prefix']}").status_code == 204


def test_the_last_admin_stays_one(system: System) -> None:
    second = made(system, is_admin=True)
    assert system.http.patch(f"/v1/users/{second.id}", json={"is_admin": False}).status_code == 200
    for change in ({"is_admin": False}, {"disabled": True}):
        answer = system.http.patch("/v1/users/admin", json=change)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "LAST_ADMIN")
    assert system.http.delete("/v1/users/admin").status_code == 409


def test_who_owns_something_is_disabled_and_who_owns_nothing_is_deleted(system: System, person: Person) -> None:
    owner = made(system)
    token = token_of(system, owner)
    upload = ask(system, token, "POST", "/uploads", json={"filename": "a.txt", "size": 1})
    assert upload.status_code == 201, upload.text
    assert system.http.delete(f"/v1/users/{owner.id}").json()["outcome"] == "disabled"
    assert system.http.delete(f"/v1/users/{person.id}").json()["outcome"] == "deleted"
    assert system.http.get(f"/v1/users/{owner.id}").json()["disabled"]
    assert system.http.get(f"/v1/users/{person.id}").status_code == 404
    assert system.sql("SELECT 1 FROM knowledge_bases WHERE id = :id", id=person.base) == []


def test_a_name_is_one_users(system: System, person: Person) -> None:
    again = system.http.post("/v1/users", json={"username": person.name})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "USER_EXISTS")


@pytest.mark.parametrize(
    "body",
    [
        {"username": "a b"},
        {"username": ""},
        {"username": "a\n"},
        {"username": "a" * 101},
        {"username": "a", "password": "short"},
        {"username": "a", "password": "p" * 10_000},
        {"username": 1},
        {},
    ],
)
def test_a_user_that_cannot_be_is_refused(system: System, body: dict[str, Any]) -> None:
    assert system.http.post("/v1/users", json=body).status_code == 400


def test_users_are_listed_in_pages_and_found_by_name(system: System) -> None:
    people = [made(system) for _ in range(3)]
    assert [u["id"] for u in system.http.get(f"/v1/users?username={people[0].name}").json()["items"]] == [people[0].id]
    seen: list[str] = []
    page = system.http.get("/v1/users?limit=2").json()
    while True:
        seen += [user["id"] for user in page["items"]]
        if not page["next_cursor"]:
            break
        page = system.http.get(f"/v1/users?limit=2&cursor={page['next_cursor']}").json()
    assert len(seen) == len(set(seen))
    assert {person.id for person in people} <= set(seen)


def test_a_hash_of_older_parameters_is_renewed_at_the_next_login(system: System, person: Person) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    system.sql("UPDATE users SET password_hash = :old WHERE id = :id RETURNING 1", old=old, id=person.id)
    assert login(system, person.name).status_code == 200
    ((new,),) = system.sql("SELECT password_hash FROM users WHERE id = :id", id=person.id)
    assert new != old
    assert login(system, person.name).status_code == 200


def test_who_did_what_is_there_for_admins_page_by_page(system: System, person: Person) -> None:
    login(system, person.name, "wrong")
    token = token_of(system, person)
    ask(system, token, "POST", "/keys", json={"name": "k"})
    login(system, "n" * 250, "wrong")

    def told(query: str) -> list[dict[str, Any]]:
        return list(system.http.get(f"/v1/audit?{query}").json()["items"])

    assert [one["action"] for one in told(f"user_id={person.id}")] == ["key.create", "login.password", "login.failed"]
    (failed,) = told(f"user_id={person.id}&action=login.failed")
    assert (failed["subject"], "wrong" in str(failed)) == (person.name, False)
    assert failed["details"]["address"] == "127.0.0.1"
    assert told(f"subject={person.id}&action=user.create")[0]["user_id"] == "admin"
    assert len(told("action=login.failed&limit=1")[0]["subject"]) == 100
    first = system.http.get(f"/v1/audit?user_id={person.id}&limit=2").json()
    rest = system.http.get(f"/v1/audit?user_id={person.id}&limit=2&cursor={first['next_cursor']}").json()
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]
    assert (
        told(f"user_id={person.id}&until={first['items'][0]['at'].replace('+', '%2B')}&limit=1") == first["items"][1:]
    )
    assert ask(system, token, "GET", "/audit").status_code == 403


def test_an_admin_looks_after_people_from_the_command_line(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BRIGADE_URL", "BRIGADE_API_KEY"):
        monkeypatch.setenv(variable, system.environment[variable])
    name = f"person-{uuid4()}"

    def brigade(*arguments: str, given: str = "", status: int = 0) -> Any:
        result = CliRunner().invoke(app, ["users", *arguments, "--json"], input=given)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout) if not status else result.stderr

    assert "no password" in brigade("add", name, status=1)
    assert brigade("add", name, given=f"{PASSWORD}\n")["username"] == name
    assert login(system, name).status_code == 200
    assert name in {user["username"] for user in brigade("list")}
    key = brigade("key", name, "--name", "reads", "--scope", "read", "--days", "2")
    assert ask(system, key["key"], "GET", "/me").json()["scopes"] == ["read"]
    assert [one["prefix"] for one in brigade("keys", name)] == [key["prefix"]]
    brigade("revoke", key["prefix"])
    assert brigade("keys", name) == []
    brigade("password", name, given="another one, longer\n")
    assert login(system, name).status_code == 401
    assert login(system, name, "another one, longer").status_code == 200
    assert brigade("disable", name)["disabled"]
    assert not brigade("enable", name)["disabled"]
    assert brigade("remove", name)["outcome"] == "deleted"
    assert "no user" in brigade("remove", name, status=1)


@pytest.mark.parametrize(
    "query", ["cursor=a", "cursor=0", f"cursor={1 << 63}", "since=yesterday", "since=2026-01-01T00:00:00", "limit=0"]
)
def test_a_question_to_the_audit_log_that_makes_no_sense_is_refused(system: System, query: str) -> None:
    assert system.http.get(f"/v1/audit?{query}").status_code == 400
