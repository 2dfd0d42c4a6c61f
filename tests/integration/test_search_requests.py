"""What a search may be asked: filters, pages, neighbours, questions that are none; and that nothing leads to what is
another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from common.http import Call
from common.index import Found
from common.principal import Principal
from functions.http.search import SearchRequest, search_base
from tests.integration.people import Person, person, upload
from tests.integration.system import System

pytestmark = pytest.mark.integration

SECTIONS = 7
REPORT = "# Axolotls\n\n" + "\n\n".join(
    f"## Lake number {number}\n\nAn axolotl was counted in the canals, for the {number}th time."
    for number in range(SECTIONS)
)
NOTES = "Notes: the axolotl lives in the canals of Xochimilco. 墨西哥钝口螈住在运河里。"
PAGE = "<html><body><p>Axolotls and their canals, on a page.</p></body></html>"


@dataclass(frozen=True)
class Library:
    """`documents`: the ids by name; of them `theirs.md` is another's."""

    mine: Person
    base: str
    documents: dict[str, str]
    hits: dict[str, str]

    def ask(self, **fields: Any) -> httpx.Response:
        return self.mine.http.post("/v1/search", json={"query": "axolotl canals", "top_k": 50} | fields)

    def names(self, **fields: Any) -> set[str]:
        answer = self.ask(**fields)
        assert answer.status_code == 200, answer.text
        return {self.hits[hit["document_id"]] for hit in answer.json()["hits"]}


@pytest.fixture(scope="module")
def library(worker: System) -> Iterator[Library]:
    with person(worker) as mine, person(worker) as other:
        base = mine.http.post("/v1/knowledge-bases", json={"name": f"axolotls {uuid4()}"}).json()["id"]
        li = {"author": "Li", "year": 2024, "tags": ["wet", "100%"], "draft": True, "due": "2026-01-31"}
        wang = {"author": "Wang", "year": 2026, "tags": "wet", "price": 9.5, "deep": {"er": None}}
        made = {
            "report.md": upload(worker, mine.http, "report.md", REPORT.encode(), metadata=li, knowledge_base_id=base),
            "notes.txt": upload(worker, mine.http, "notes.txt", NOTES.encode(), metadata=wang),
            "page.html": upload(worker, mine.http, "page.html", PAGE.encode()),
            "theirs.md": upload(worker, other.http, "theirs.md", NOTES.encode(), metadata=li),
        }
        yield Library(mine, base, made, {document: name for name, document in made.items()})


ALL = {"report.md", "notes.txt", "page.html"}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ALL),
        ({"file_type": "markdown"}, {"report.md"}),
        ({"file_type": ["text", "html"]}, {"notes.txt", "page.html"}),
        ({"file_type": {"ne": "text"}}, {"report.md", "page.html"}),
        ({"name": {"starts_with": "REP"}}, {"report.md"}),
        ({"name": {"contains": "%"}}, set()),
        ({"metadata.author": "Li"}, {"report.md"}),
        ({"metadata.author": ["Li", "Wang"]}, {"report.md", "notes.txt"}),
        ({"metadata.author": {"not_in": ["Li"]}}, {"notes.txt", "page.html"}),
        ({"metadata.author": {"exists": False}}, {"page.html"}),
        ({"metadata.year": {"gte": 2024, "lt": 2026}}, {"report.md"}),
        ({"metadata.year": "2024"}, set()),
        ({"metadata.price": {"gt": 9}}, {"notes.txt"}),
        ({"metadata.due": {"lt": "2026-02-01"}}, {"report.md"}),
        ({"metadata.tags": {"contains": "wet"}}, {"report.md", "notes.txt"}),
        ({"metadata.tags": {"contains": "we"}}, {"notes.txt"}),
        ({"metadata.tags": {"contains": "100%"}}, {"report.md"}),
        ({"metadata.deep.er": {"exists": True}}, {"notes.txt"}),
        ({"not": {"metadata.draft": True}}, {"notes.txt", "page.html"}),
        ({"any": [{"metadata.draft": True}, {"name": "page.html"}]}, {"report.md", "page.html"}),
        ({"all": [{"metadata.draft": True}, {"name": "page.html"}]}, set()),
        ({"any": []}, set()),
        ({"created_at": {"gt": "2020-01-01T00:00:00Z", "lte": "2120-01-01T00:00:00+08:00"}}, ALL),
        ({"created_at": {"lt": "2020-01-01T00:00:00Z"}}, set()),
        ({"file_size": {"gt": 500}}, {"report.md"}),
        ({"version": 1}, ALL),
        ({"version": 2}, set()),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_filters_let_in_what_they_say(library: Library, filters: dict[str, Any], names: set[str]) -> None:
    assert library.names(filters=filters) == names


@pytest.mark.parametrize(
    ("filters", "code", "said"),
    [
        ({"colour": "red"}, "UNKNOWN_FILTER_FIELD", "'colour'"),
        ({"metadata.": 1}, "UNKNOWN_FILTER_FIELD", "metadata.<key>"),
        ({"document.deleted_at": None}, "UNKNOWN_FILTER_FIELD", "document.deleted_at"),
        ({"name": {"matches": "x"}}, "UNKNOWN_FILTER_OPERATOR", "'matches'"),
        ({"name": {}}, "INVALID_FILTER", "says nothing"),
        ({"name": 7}, "INVALID_FILTER", "name"),
        ({"name": "x" * 1001}, "INVALID_FILTER", "1000 characters"),
        ({"version": "one"}, "INVALID_FILTER", "whole number"),
        ({"version": 1 << 63}, "INVALID_FILTER", "whole number"),
        ({"created_at": "yesterday"}, "INVALID_FILTER", "2026-01-31T12:00:00Z"),
        ({"created_at": "2026-01-31T12:00:00"}, "INVALID_FILTER", "2026-01-31T12:00:00Z"),
        ({"metadata.x": {"gt": True}}, "INVALID_FILTER", "number or a text"),
        ({"metadata.x": {"eq": {"a": 1}}}, "INVALID_FILTER", "metadata.x"),
        ({"metadata.x": list(range(101))}, "INVALID_FILTER", "100"),
        ({"any": {"name": "x"}}, "INVALID_FILTER", "'any'"),
        ({"not": [{"name": "x"}]}, "INVALID_FILTER", "object"),
        ({"any": [{"name": "x"}] * 101}, "FILTER_TOO_LARGE", "100"),
        ({"not": {"not": {"not": {"not": {"not": {"not": {"name": "x"}}}}}}}, "FILTER_TOO_LARGE", "deep"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_filter_that_is_none_is_refused_in_a_sentence(
    library: Library, filters: dict[str, Any], code: str, said: str
) -> None:
    answer = library.ask(filters=filters)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert said in answer.json()["error"]["message"]


HOSTILE = (
    "' OR true OR '",
    "') OR true --",
    '" or knowledge_base_id != "',
    ":bases",
    "%(bases)s",
    "{bases}",
    "$1",
    "\\') OR (1=1",
    "x'; DROP TABLE documents; --",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_filter_leads_to_what_is_anothers(library: Library, hostile: str) -> None:
    for filters in (
        {"name": {"ne": hostile}},
        {"metadata.author": {"not_in": [hostile]}},
        {"not": {"name": {"contains": hostile}}},
        {"any": [{"name": "theirs.md"}, {"metadata.x": hostile}, {"not": {"user_id": hostile}}]},
        {f"metadata.{hostile}": {"exists": False}},
        {"document_id": {"in": [library.documents["theirs.md"], hostile]}},
    ):
        assert "theirs.md" not in library.names(filters=filters)
    refused = library.ask(filters={hostile: 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "UNKNOWN_FILTER_FIELD")


def test_filters_cannot_name_anothers_document_or_person(library: Library) -> None:
    theirs = library.documents["theirs.md"]
    assert library.names(filters={"document_id": theirs}) == set()
    assert library.names(document_ids=[theirs], filters={"not": {"name": "x"}}) == set()
    assert library.names(filters={"user_id": {"ne": library.mine.id}}) == set()
    assert library.names(filters={"user_id": library.mine.id}) == ALL


def test_several_bases_at_once_and_each_by_itself(library: Library) -> None:
    assert library.names(knowledge_base_ids=[library.base]) == {"report.md"}
    assert library.names(knowledge_base_ids=[library.mine.base]) == {"notes.txt", "page.html"}
    assert library.names(knowledge_base_ids=[library.base, library.mine.base]) == ALL


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_pages_make_the_whole(library: Library, mode: str) -> None:
    whole = library.ask(mode=mode).json()
    assert len(whole["hits"]) >= SECTIONS
    assert whole["next_cursor"] is None
    read: list[Any] = []
    cursor = None
    while True:
        page = library.ask(mode=mode, top_k=3, cursor=cursor).json()
        read += page["hits"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["hits"]) == 3
    assert [(hit["document_id"], hit["chunk"]) for hit in read] == [
        (hit["document_id"], hit["chunk"]) for hit in whole["hits"]
    ]
    for nonsense in ("x", "LTE=", "OTk5OTk5OTk5OTk5"):
        answer = library.ask(cursor=nonsense)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_CURSOR")


def test_neighbours_come_with_a_hit_in_the_documents_order(library: Library) -> None:
    answer = library.ask(query="Lake number 3", document_ids=[library.documents["report.md"]], neighbours=2, top_k=1)
    (hit,) = answer.json()["hits"]
    chunks = library.mine.get(f"/documents/{hit['document_id']}/chunks")["items"]
    texts = {chunk["number"]: chunk["text"] for chunk in chunks}
    assert "number 3" in hit["text"]
    at = hit["chunk"]
    assert [(near["chunk"], near["text"]) for near in hit["before"]] == [(n, texts[n]) for n in (at - 2, at - 1)]
    assert [(near["chunk"], near["text"]) for near in hit["after"]] == [(n, texts[n]) for n in (at + 1, at + 2)]
    ends = library.ask(query="Lake number 0", document_ids=[hit["document_id"]], neighbours=2, top_k=50).json()["hits"]
    assert next(hit["before"] for hit in ends if hit["chunk"] == 0) == []
    assert next(hit["after"] for hit in ends if hit["chunk"] == max(texts)) == []


def test_a_hit_says_how_it_was_found_and_where_it_has_the_words(library: Library) -> None:
    (hit, *_) = library.ask(query="钝口螈住在哪里", filters={"name": "notes.txt"}).json()["hits"]
    assert hit["found_by"] == ["dense", "keyword"]
    assert [hit["text"][start:end] for start, end in hit["highlights"]] == ["钝口螈住在"]
    assert hit["version"] == 1
    assert library.ask(query="axolotl", mode="dense").json()["hits"][0]["found_by"] == ["dense"]
    assert library.ask(query="axolotl", mode="keyword").json()["hits"][0]["found_by"] == ["keyword"]
    (hit, *_) = library.ask(query="number 3 canals", filters={"name": "report.md"}).json()["hits"]
    assert hit["headings"] == ["Axolotls"]


@pytest.mark.parametrize(
    "query",
    [
        "?!…，。",
        " ",
        "\u200b\u200d\ufeff",
        "🦎🌊",
        "أين يعيش عفريت الماء؟",
        "ᎣᏏᏲ ᏂᎦᏓ",
        "a\u0000b",
        "\x1b[31mred\x07",
        "axolotl " * 1200,
        "\ud800",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_what_is_no_question_has_an_answer_or_a_reason(library: Library, query: str, mode: str) -> None:
    body = json.dumps({"query": query, "mode": mode})
    answer = library.mine.http.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    if answer.status_code != 200:
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["message"]
    assert library.names()


def test_a_question_of_a_hundred_thousand_characters_is_refused(library: Library) -> None:
    answer = library.ask(query="why " * 25_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_BODY")
    assert "10000" in answer.json()["error"]["message"]


def test_an_empty_base_answers_nothing(library: Library) -> None:
    empty = library.mine.http.post("/v1/knowledge-bases", json={"name": f"empty {uuid4()}"}).json()["id"]
    for mode in ("hybrid", "dense", "keyword"):
        assert library.names(knowledge_base_ids=[empty], mode=mode) == set()


def test_a_base_that_is_deleted_during_a_search_shows_nothing(
    library: Library, worker: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = library.mine.http.post("/v1/knowledge-bases", json={"name": f"short-lived {uuid4()}"}).json()["id"]
    upload(worker, library.mine.http, "short.txt", b"A quokka, while it lasts.", knowledge_base_id=base)
    services = worker.services
    found = services.index.search
    call = Call(services, {}, Principal(library.mine.id, is_admin=False), {"knowledge_base_id": base})
    assert search_base(call, SearchRequest("quokka")).body.hits

    def searched(*args: Any, **options: Any) -> Found:
        result = found(*args, **options)
        assert result.hits
        assert library.mine.http.delete(f"/v1/knowledge-bases/{base}").status_code in (202, 204)
        monkeypatch.undo()
        return result

    monkeypatch.setattr(services.index, "search", searched)
    assert search_base(call, SearchRequest("quokka")).body.hits == []
