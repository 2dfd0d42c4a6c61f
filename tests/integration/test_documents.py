"""Documents through the API: found again, read, downloaded, processed again, and gone when they are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest

from tests.integration.people import Person, person, upload
from tests.integration.system import System, wait_for
from tests.unit.documents import pdf

pytestmark = pytest.mark.integration

WORDS = b"A bucket brigade hands water along. \xe6\xbd\x9c\xe7\x81\xab\xe9\x98\x9f"


@pytest.fixture(scope="module")
def someone(worker: System) -> Iterator[Person]:
    with person(worker) as made:
        yield made


def listed(who: Person, **query: Any) -> list[str]:
    return [document["name"] for document in who.get("/documents", **query)["items"]]


def delete(who: Person, document: str) -> httpx.Response:
    return who.http.delete(f"/v1/documents/{document}")


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_list_is_narrowed_by_what_is_asked_for_and_by_who_asks(worker: System) -> None:
    with person(worker) as one, person(worker) as other:
        plain = upload(worker, one.http, "100%_sure.txt", WORDS, metadata={"a": 1})
        upload(worker, one.http, "Other Notes.md", WORDS)
        one.http.post("/v1/uploads", json={"filename": "announced.pdf", "size": 1})
        both = {"100%_sure.txt", "Other Notes.md"}
        assert listed(one) == ["announced.pdf", "Other Notes.md", "100%_sure.txt"]
        assert set(listed(one, processing_status="COMPLETED")) == both
        assert listed(one, processing_status="PENDING") == ["announced.pdf"]
        assert listed(one, file_type="text") == ["100%_sure.txt"]
        assert listed(one, file_type="pdf") == ["announced.pdf"]  # by its name, before anybody has looked
        assert listed(one, content_type="text/markdown") == ["Other Notes.md"]
        assert listed(one, q="NOTES") == ["Other Notes.md"]
        assert listed(one, q="0%_s") == ["100%_sure.txt"]
        assert listed(one, q="%o%") == listed(one, q="_")[1:] == []
        assert listed(one, knowledge_base_id=one.base, user_id=one.id)[1:] == ["Other Notes.md", "100%_sure.txt"]
        assert listed(one, user_id=other.id) == []
        created = one.get(f"/documents/{plain}")["created_at"]
        assert "100%_sure.txt" in listed(one, created_after=created)
        assert listed(one, created_before=created) == []
        assert listed(other) == listed(other, knowledge_base_id="default") == []
        assert error(other.http.get("/v1/documents", params={"knowledge_base_id": one.base})) == (404, "NOT_FOUND")
        assert error(one.http.get("/v1/documents", params={"created_after": "2026-01-01"})) == (400, "INVALID_QUERY")


def test_pages_of_a_list_stay_right_while_documents_arrive(system: System) -> None:
    with person(system) as one:

        def announce(name: str) -> None:
            assert one.http.post("/v1/uploads", json={"filename": name, "size": 1}).status_code == 201

        for number in range(7):
            announce(f"old-{number}")
        found, cursor = [], None
        while True:
            page = one.get("/documents", limit=2, **({"cursor": cursor} if cursor else {}))
            found += [document["name"] for document in page["items"]]
            announce(f"new-{len(found)}")
            if (cursor := page["next_cursor"]) is None:
                break
        assert found == [f"old-{number}" for number in reversed(range(7))]


def test_a_document_tells_what_it_is_and_what_search_shows(worker: System, someone: Person) -> None:
    document = upload(worker, someone.http, "notes.md", b"# Title\n\n" + WORDS)
    told = someone.get(f"/documents/{document}")
    assert (told["file_type"], told["shown_version"], told["version"]) == ("markdown", 1, 1)
    assert (told["processing_status"], told["error_code"], told["user_id"]) == ("COMPLETED", None, someone.id)
    assert told["knowledge_base_id"] == someone.base


def test_a_new_name_shows_in_search_at_once_and_metadata_is_replaced(worker: System, someone: Person) -> None:
    document = upload(worker, someone.http, "old.txt", WORDS, metadata={"a": 1})
    changed = someone.http.patch(f"/v1/documents/{document}", json={"name": "dir/新名.txt", "metadata": {"b": [2]}})
    assert (changed.json()["name"], changed.json()["metadata"]) == ("新名.txt", {"b": [2]})
    assert changed.json()["updated_at"] > changed.json()["created_at"]
    assert someone.http.patch(f"/v1/documents/{document}", json={"name": "newest.txt"}).json()["metadata"] == {"b": [2]}
    hit = someone.http.post("/v1/search", json={"query": "water", "document_ids": [document]}).json()["hits"][0]
    assert hit["document_name"] == "newest.txt"
    deep = '{"metadata": {"a": ' + "[" * 40 + "]" * 40 + "}}"
    assert error(someone.http.patch(f"/v1/documents/{document}", content=deep)) == (400, "INVALID_BODY")
    assert error(someone.http.patch(f"/v1/documents/{document}", json={"name": ".."})) == (400, "INVALID_FILENAME")
    much = someone.http.patch(f"/v1/documents/{document}", json={"metadata": {"a": "x" * 20_000}})
    assert error(much) == (422, "METADATA_TOO_LARGE")
    entries = worker.sql("SELECT action, user_id FROM audit_log WHERE subject = :id ORDER BY id", id=document)
    assert [tuple(entry) for entry in entries[-2:]] == [("document.change", someone.id)] * 2


def test_a_download_comes_under_its_name_in_whatever_script(worker: System, someone: Person) -> None:
    document = upload(worker, someone.http, '救火 "manual".txt', WORDS)
    told = someone.get(f"/documents/{document}/download")
    assert (told["success"], told["document_name"], told["expires_in"]) == (True, '救火 "manual".txt', 900)
    answer = httpx.get(told["download_url"])
    assert answer.content == WORDS
    disposition = answer.headers["content-disposition"]
    assert unquote(disposition.partition("filename*=UTF-8''")[2]) == '救火 "manual".txt'
    redirect = someone.http.get(f"/v1/documents/{document}/download?redirect=1")
    assert redirect.status_code == 307
    assert httpx.get(redirect.headers["location"]).content == WORDS


def test_a_version_is_downloaded_as_long_as_its_bytes_are_kept(worker: System) -> None:
    key = f"incoming/{uuid4()}-drop/a.txt"
    document = worker.ingest(key, b"The first words.").document_id
    worker.put(key, b"The second words.")
    worker.ended(worker.task_of(key, 1))
    url = f"/v1/documents/{document}/download"
    for query in ({}, {"version": 2}):
        assert httpx.get(worker.http.get(url, params=query).json()["download_url"]).content == b"The second words."

    def first() -> tuple[int, Any]:
        answer = worker.http.get(url, params={"version": 1})
        return answer.status_code, answer.json()

    status, told = first()
    if status == 200:  # until it is tidied away its task's own copy is there
        assert httpx.get(told["download_url"]).content == b"The first words."
    wait_for(lambda: first()[0] == 404, "the old version's copy is cleared away")
    assert first()[1]["error"]["code"] == "VERSION_NOT_KEPT"
    assert error(worker.http.get(url, params={"version": 3})) == (404, "NOT_FOUND")


def test_what_is_only_announced_cannot_be_read_or_processed(system: System) -> None:
    with person(system) as one:
        ticket = one.http.post("/v1/uploads", json={"filename": "a.txt", "size": 1}).json()
        path = f"/v1/documents/{ticket['document_id']}"
        assert error(one.http.get(f"{path}/download")) == (409, "NOT_UPLOADED")
        assert error(one.http.post(f"{path}/reprocess")) == (409, "NOT_UPLOADED")
        for what in ("text", "chunks"):
            assert error(one.http.get(f"{path}/{what}")) == (409, "NOT_EXTRACTED")


def pages_of(who: Person, path: str, **query: Any) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        page = who.get(path, **query, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return found


@pytest.mark.parametrize("paragraphs", [3, 1200])
def test_text_and_chunks_come_in_pages_that_make_the_whole(worker: System, someone: Person, paragraphs: int) -> None:
    whole = "\n\n".join(f"Paragraph {n} tells of water, 第{n}段讲的是水。" for n in range(paragraphs))
    document = upload(worker, someone.http, f"{uuid4()}.txt", whole.encode())
    pages = pages_of(someone, f"/documents/{document}/text", limit=1)
    assert "\n".join(page["text"] for page in pages).split() == whole.split()
    clean = "".join(page["text"] + "\n" for page in pages_of(someone, f"/documents/{document}/text", clean=True))
    chunks = pages_of(someone, f"/documents/{document}/chunks", limit=7)
    assert [chunk["number"] for chunk in chunks] == list(range(len(chunks)))
    assert all(clean[chunk["start"] : chunk["end"]] == chunk["text"] for chunk in chunks)
    assert set(chunks[0]) == {"number", "page", "start", "end", "text", "headings", "places"}
    (stored,) = worker.sql(
        "SELECT count(*) FROM task_details WHERE output_key IS NOT NULL AND task_id = "
        "(SELECT task_id FROM document_versions WHERE document_id = :id)",
        id=document,
    )
    assert (stored[0] > 0) == (paragraphs > 100)  # both ways an artifact is kept
    assert pages_of(someone, f"/documents/{document}/text", page=1) == pages
    assert pages_of(someone, f"/documents/{document}/chunks", page=2) == []


def test_chunks_say_under_which_headings_and_where_on_their_page_they_stand(worker: System, someone: Person) -> None:
    deep = " ".join(f"Well {number} has nine metres of water." for number in range(100))
    noted = upload(worker, someone.http, f"{uuid4()}.md", f"# Wells\n\n## Depth\n\n{deep}".encode())
    first, *_, last = pages_of(someone, f"/documents/{noted}/chunks")
    assert (first["headings"], first["places"]) == ([], []), "they are in its own text"
    assert (last["headings"], last["places"]) == (["Wells", "Depth"], [])
    printed = upload(worker, someone.http, f"{uuid4()}.pdf", pdf("The first page.", "Nine metres of water."))
    places = [
        (place["page"], place["box"]) for place in pages_of(someone, f"/documents/{printed}/chunks")[-1]["places"]
    ]
    (hit,) = someone.http.post(
        "/v1/search", json={"query": "metres", "mode": "keyword", "document_ids": [printed]}
    ).json()["hits"]
    assert places == [(place["page"], place["box"]) for place in hit["places"]]
    (page, (left, top, right, bottom)) = places[-1]
    assert (page, left) == (2, pytest.approx(72, abs=1))
    assert top < 72 < bottom, "around the base line"
    assert right > 100


@pytest.mark.parametrize("cursor", ["x", "WzEsMV0=", "WzEsOTk5OTk5OTld"])
def test_a_cursor_that_no_answer_gave_is_refused(worker: System, someone: Person, cursor: str) -> None:
    document = upload(worker, someone.http, f"{uuid4()}.txt", WORDS)
    answer = someone.http.get(f"/v1/documents/{document}/text", params={"cursor": cursor})
    assert error(answer) == (400, "INVALID_CURSOR")


def keys(system: System, prefix: str) -> int:
    found = system.services.objects.admin.list_objects_v2(Bucket=system.settings.bucket, Prefix=prefix)
    return int(found["KeyCount"])


def test_deleting_takes_object_artifacts_vectors_rows_and_text(worker: System, someone: Person) -> None:
    document = upload(worker, someone.http, "gone.txt", WORDS)
    task = someone.get(f"/documents/{document}")["task_id"]
    answer = delete(someone, document)
    assert answer.status_code == 202
    assert someone.http.get(f"/v1/documents/{document}").status_code == 404
    ended = worker.ended(answer.json()["task_id"])
    assert [(step.step_name, step.status) for step in ended.task_details] == [
        ("ERASE", "COMPLETED"),
        ("REMOVE", "COMPLETED"),
    ]
    assert worker.rows_of(document) == []
    assert keys(worker, f"incoming/{document}/") == keys(worker, f"artifacts/{task}/") == 0
    assert worker.sql("SELECT 1 FROM documents WHERE id = :id", id=document) == []
    assert worker.sql("SELECT 1 FROM task_details WHERE task_id = :id AND output IS NOT NULL", id=task) == []
    assert error(delete(someone, document)) == (404, "NOT_FOUND")
    # The store tells of the removal, too late to change anything.
    upload(worker, someone.http, "marker.txt", WORDS)
    assert len(worker.sql("SELECT 1 FROM tasks WHERE document_id = :id", id=document)) == 2
