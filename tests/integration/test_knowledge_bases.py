"""Knowledge bases through the API: who sees what, what search never shows, and how one ends with all that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.people import Person, person, upload
from tests.integration.system import System, wait_for

pytestmark = pytest.mark.integration

WORDS = b"The axolotl lives in the canals of Xochimilco."


@pytest.fixture(scope="module")
def one(worker: System) -> Iterator[Person]:
    with person(worker) as made:
        yield made


@pytest.fixture(scope="module")
def other(worker: System) -> Iterator[Person]:
    with person(worker) as made:
        yield made


def make(who: Person, **fields: Any) -> dict[str, Any]:
    answer = who.http.post("/v1/knowledge-bases", json={"name": f"base {uuid4()}"} | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def share(who: Person, base: str, person_id: str, role: str) -> httpx.Response:
    return who.http.put(f"/v1/knowledge-bases/{base}/members/{person_id}", json={"role": role})


def search(who: Person, path: str = "/search", **fields: Any) -> httpx.Response:
    return who.http.post(f"/v1{path}", json={"query": "axolotl canals", "top_k": 20} | fields)


def found(who: Person, path: str = "/search", **fields: Any) -> set[str]:
    answer = search(who, path, **fields)
    assert answer.status_code == 200, answer.text
    return {hit["document_id"] for hit in answer.json()["hits"]}


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_base_tells_what_it_holds_and_who_may_what(worker: System, one: Person) -> None:
    base = make(one, name=" Ｍanuals\u0007 ", description="How to", chunking={"size": 64, "overlap": 8})
    assert (base["name"], base["chunking"], base["role"]) == (
        "Ｍanuals",
        {"size": 64, "overlap": 8, "by": "heading"},
        "owner",
    )
    assert (base["owner_id"], base["document_count"], base["chunk_count"]) == (one.id, 0, 0)
    upload(worker, one.http, "a.txt", WORDS, knowledge_base_id=base["name"])
    told = one.get(f"/knowledge-bases/{base['id']}")
    assert (told["document_count"], told["chunk_count"]) == (1, 1)
    names = [each["name"] for each in one.get("/knowledge-bases")["items"]]
    assert names[:1] + names[-1:] == ["Ｍanuals", "default"]
    first = one.get("/knowledge-bases", limit=1)
    assert (
        one.get("/knowledge-bases", limit=1, cursor=first["next_cursor"])["items"][0]["id"] != first["items"][0]["id"]
    )


def test_names_are_an_owners_own_and_only_once(one: Person, other: Person) -> None:
    name = f"base {uuid4()}"
    make(one, name=name)
    make(other, name=name)
    assert error(one.http.post("/v1/knowledge-bases", json={"name": name})) == (409, "NAME_TAKEN")
    second = make(one)["id"]
    assert error(one.http.patch(f"/v1/knowledge-bases/{second}", json={"name": name})) == (409, "NAME_TAKEN")
    assert one.http.patch(f"/v1/knowledge-bases/{second}", json={"description": "d"}).json()["description"] == "d"
    assert error(one.http.post("/v1/knowledge-bases", json={"name": " \t"})) == (400, "INVALID_NAME")


@pytest.mark.parametrize(
    ("chunking", "refusal"),
    [
        ({"size": 15, "overlap": 0}, (400, "INVALID_BODY")),
        ({"size": 64, "overlap": -1}, (400, "INVALID_BODY")),
        ({"size": 60_000, "overlap": 0}, (422, "CHUNK_SIZE")),
        ({"size": 64, "overlap": 32}, (422, "CHUNK_OVERLAP")),
    ],
)
def test_what_cannot_be_split_so_is_refused(one: Person, chunking: dict[str, int], refusal: tuple[int, str]) -> None:
    answer = one.http.post("/v1/knowledge-bases", json={"name": "refused", "chunking": chunking})
    assert error(answer) == refusal


def test_documents_are_split_as_their_base_says(worker: System, one: Person) -> None:
    whole = " ".join(f"Sentence number {n} speaks of water and of fire." for n in range(40)).encode()
    small = make(one, chunking={"size": 16, "overlap": 0})["id"]
    counts = {}
    for base in (small, one.base):
        document = upload(worker, one.http, f"{uuid4()}.txt", whole, knowledge_base_id=base)
        counts[base] = len(one.get(f"/documents/{document}/chunks", limit=200)["items"])
    assert counts[small] >= 40 > 10 > counts[one.base]
    back = one.http.patch(f"/v1/knowledge-bases/{small}", json={"chunking": None}).json()
    assert (
        back["chunking"]
        == one.get(f"/knowledge-bases/{one.base}")["chunking"]
        == {
            "size": 256,
            "overlap": 32,
            "by": "heading",
        }
    )


def test_a_base_is_re_indexed_after_its_chunking_was_changed(worker: System, one: Person) -> None:
    whole = " ".join(f"Sentence number {n} speaks of the axolotl and of canals." for n in range(40)).encode()
    base = make(one)["id"]
    document = upload(worker, one.http, "a.txt", whole, knowledge_base_id=base)
    before = one.get(f"/knowledge-bases/{base}")
    assert (before["stale"], before["reindexing"]) == (0, None)
    chunking = {"size": 16, "overlap": 0, "by": "page"}
    changed = one.http.patch(f"/v1/knowledge-bases/{base}", json={"chunking": chunking}).json()
    assert (changed["stale"], changed["chunk_count"]) == (1, before["chunk_count"])
    answer = one.http.post(f"/v1/knowledge-bases/{base}/reindex")
    assert (answer.status_code, answer.json()["reindexing"]["remaining"]) == (202, 1)

    def done() -> bool:
        assert found(one, knowledge_base_ids=[base]) == {document}, "it is in sight all the time"
        return one.get(f"/knowledge-bases/{base}")["reindexing"] is None

    wait_for(done, "the base is re-indexed")
    after = one.get(f"/knowledge-bases/{base}")
    assert (after["stale"], after["chunk_count"] >= 40, after["chunking"]) == (0, True, chunking)
    assert one.get(f"/documents/{document}")["version"] == 2


def test_what_is_dropped_under_a_bound_prefix_is_that_bases_and_that_owners(worker: System, one: Person) -> None:
    base, prefix = make(one)["id"], f"incoming/{uuid4()}/"
    body = {"prefix": prefix, "knowledge_base_id": base}
    assert error(one.http.post("/v1/bindings", json=body)) == (403, "FORBIDDEN")
    made = worker.http.post("/v1/bindings", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["user_id"], made.json()["bucket_name"]) == (one.id, worker.settings.bucket)
    assert error(worker.http.post("/v1/bindings", json=body)) == (409, "PREFIX_TAKEN")
    assert error(worker.http.post("/v1/bindings", json=body | {"prefix": "x/"})) == (422, "PREFIX_NOT_WATCHED")
    dropped = worker.ingest(f"{prefix}a.txt", WORDS).document_id
    assert found(one, knowledge_base_ids=[base]) == {dropped}
    assert one.get(f"/documents/{dropped}")["user_id"] == one.id
    made_id = made.json()["id"]
    assert made_id in {each["id"] for each in worker.http.get("/v1/bindings").json()["items"]}
    assert worker.http.delete(f"/v1/bindings/{made_id}").status_code == 204
    assert error(worker.http.delete(f"/v1/bindings/{made_id}")) == (404, "NOT_FOUND")
    entries = worker.http.get("/v1/audit", params={"subject": made_id}).json()["items"]
    assert [entry["action"] for entry in entries] == ["binding.delete", "binding.create"]


def test_what_is_shared_is_seen_and_what_is_not_is_never_found(worker: System, one: Person, other: Person) -> None:
    base = make(one)["id"]
    mine = upload(worker, one.http, "mine.txt", WORDS, knowledge_base_id=base)
    theirs = upload(worker, other.http, "theirs.txt", WORDS)
    inside = f"/knowledge-bases/{base}/search"
    assert mine in found(one)
    assert theirs in found(other)
    ways_round: list[dict[str, Any]] = [
        {},
        {"document_ids": [mine]},
        {"document_ids": [mine, theirs]},
        {"knowledge_base_ids": [other.base], "document_ids": [mine]},
        {"knowledge_base_ids": ["default"]},
        {"mode": "keyword"},
        {"mode": "dense"},
        {"filters": {}},
    ]
    for way_round in ways_round:
        assert mine not in found(other, **way_round)
    assert error(search(other, knowledge_base_ids=[base])) == (404, "NOT_FOUND")
    assert error(search(other, inside)) == (403, "FORBIDDEN")
    assert error(search(other, f"/knowledge-bases/{uuid4()}/search")) == (404, "NOT_FOUND")
    assert error(search(other, document_ids=['" or knowledge_base_id != "'])) == (400, "INVALID_BODY")
    assert error(search(other, knowledge_base_ids=['" or 1 == 1 or "'])) == (404, "NOT_FOUND")
    assert error(search(other, filters={"knowledge_base_id": base})) == (422, "UNKNOWN_FILTER_FIELD")
    assert share(one, base, other.name, "reader").json() == {
        "user_id": other.id,
        "username": other.name,
        "role": "reader",
    }
    assert mine in found(other) & found(other, inside) & found(other, knowledge_base_ids=[base])
    assert found(other, inside) == {mine}
    assert found(other, inside, document_ids=[theirs]) == set()
    assert other.get(f"/knowledge-bases/{base}")["role"] == "reader"
    assert one.http.delete(f"/v1/knowledge-bases/{base}/members/{other.id}").status_code == 204
    assert mine not in found(other)


def test_each_role_may_what_it_says_and_no_more(worker: System, one: Person, other: Person) -> None:
    base = make(one)["id"]
    document = upload(worker, one.http, "a.txt", WORDS, knowledge_base_id=base)
    at = f"/v1/knowledge-bases/{base}"
    changes: dict[str, tuple[str, Any]] = {
        "PATCH": (f"/v1/documents/{document}", {"metadata": {}}),
        "POST": (f"/v1/documents/{document}/reprocess", None),
    }

    def may_edit() -> set[int]:
        return {other.http.request(method, path, json=body).status_code for method, (path, body) in changes.items()}

    def may_own() -> set[int]:
        asked = [other.http.patch(at, json={"description": "x"}), share(other, base, other.id, "owner")]
        return {answer.status_code for answer in asked}

    assert other.http.get(f"/v1/documents/{document}").status_code == 403
    share(one, base, other.id, "reader")
    assert other.get(f"/documents/{document}")["id"] == document
    assert (may_edit(), may_own()) == ({403}, {403})
    share(one, base, other.id, "editor")
    assert (may_edit(), may_own()) == ({200, 202}, {403})
    assert error(other.http.delete(f"{at}/members/{one.id}")) == (403, "FORBIDDEN")
    members = one.get(f"/knowledge-bases/{base}/members")["items"]
    assert {member["user_id"]: member["role"] for member in members} == {one.id: "owner", other.id: "editor"}
    share(one, base, other.id, "owner")
    assert may_own() == {200}
    assert error(share(other, base, one.id, "reader")) == (409, "OWNER")
    assert error(share(one, base, "nobody", "reader")) == (404, "NOT_FOUND")
    assert other.http.delete(f"{at}/members/{other.id}").status_code == 204
    assert error(other.http.get(at)) == (403, "FORBIDDEN")


def test_a_base_leaves_with_all_its_documents(worker: System, one: Person) -> None:
    base = make(one)
    documents = [upload(worker, one.http, f"{n}.txt", WORDS, knowledge_base_id=base["id"]) for n in range(2)]
    one.http.post("/v1/uploads", json={"filename": "announced.txt", "size": 1, "knowledge_base_id": base["id"]})
    answer = one.http.delete(f"/v1/knowledge-bases/{base['id']}")
    assert answer.status_code == 202
    assert len(answer.json()["task_ids"]) == 3
    late = one.http.post("/v1/uploads", json={"filename": "a", "size": 1, "knowledge_base_id": base["id"]})
    assert error(late) == (404, "NOT_FOUND")
    assert error(one.http.get(f"/v1/knowledge-bases/{base['id']}")) == (404, "NOT_FOUND")
    assert not found(one) & set(documents)
    for task in answer.json()["task_ids"]:
        assert worker.ended(task).status == "COMPLETED"
        assert one.get(f"/tasks/{task}")["status"] == "COMPLETED"  # its last tasks are still to be seen
    assert [worker.rows_of(document) for document in documents] == [[], []]
    assert worker.sql("SELECT 1 FROM documents WHERE knowledge_base_id = :id", id=base["id"]) == []
    make(one, name=base["name"])


def test_what_came_into_a_deleted_base_after_all_follows_it(worker: System, one: Person) -> None:
    base = make(one)["id"]
    ticket = one.http.post("/v1/uploads", json={"filename": "a", "size": 1, "knowledge_base_id": base}).json()
    # As an upload that was announced in the same moment.
    worker.sql("UPDATE knowledge_bases SET deleted_at = now() WHERE id = :id RETURNING 1", id=base)
    gone = "SELECT 1 FROM documents WHERE id = :id"
    wait_for(lambda: not worker.sql(gone, id=ticket["document_id"]), "the document is gone")


def test_the_base_of_uploads_that_name_none_stays(worker: System, one: Person) -> None:
    assert error(one.http.delete(f"/v1/knowledge-bases/{one.base}")) == (409, "DEFAULT_KNOWLEDGE_BASE")
    assert error(worker.http.delete("/v1/knowledge-bases/default")) == (409, "DEFAULT_KNOWLEDGE_BASE")
