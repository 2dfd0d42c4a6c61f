"""`brigade search`: what it asks for, and what it shows."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import typer

from common.document_filters import compile_filters
from deploy.cli import filters
from tests.unit.fake_api import HIT, FakeApi
from tests.unit.test_cli import Run, api, run

__all__ = ["api", "run"]  # fixtures


def test_a_search_shows_where_each_passage_stands_and_how_it_was_found(run: Run, api: FakeApi) -> None:
    api.hits = [HIT]
    shown = run("search", "救火队伍").stdout
    assert "bucket-brigade.pdf, version 1, page 2" in shown
    assert "Fire › Kaifeng" in shown
    assert "by meaning and words" in shown
    assert "专门的救火队伍" in shown


def test_the_base_of_a_passage_is_told_where_there_are_several(run: Run, api: FakeApi) -> None:
    api.hits = [HIT, HIT]
    assert "manuals" not in run("search", "x").stdout
    api.hits = [HIT, {**HIT, "knowledge_base_id": "l", "knowledge_base_name": "letters"}]
    shown = run("search", "x").stdout
    assert "page 2, in manuals" in shown
    assert "page 2, in letters" in shown


def test_all_that_a_search_can_be_told_reaches_the_api(run: Run, api: FakeApi) -> None:
    run("search", "水", "-n", 3, "--mode", "keyword", "--kb", "manuals", "--kb", "letters", "--document", "d0")
    run("search", "水", "--filter", "file_type=pdf", "--neighbours", 2, "--cursor", "NQ==")
    first, second = api.searches
    assert first == {
        "query": "水",
        "top_k": 3,
        "mode": "keyword",
        "knowledge_base_ids": ["manuals", "letters"],
        "document_ids": ["d0"],
        "neighbours": 0,
    }
    assert second == {
        "query": "水",
        "top_k": 5,
        "mode": "hybrid",
        "filters": {"file_type": {"eq": "pdf"}},
        "neighbours": 2,
        "cursor": "NQ==",
    }


def test_where_there_is_more_it_is_said_how_to_get_it(run: Run, api: FakeApi) -> None:
    api.hits = [HIT]
    assert "--cursor" not in run("search", "x").stderr
    api.more = "NQ=="
    assert "--cursor NQ==" in run("search", "x").stderr


def test_a_search_as_json_is_the_answer_of_the_api(run: Run, api: FakeApi) -> None:
    api.hits, api.more = [HIT], "NQ=="
    shown = json.loads(run("search", "x", "--json").stdout)
    assert shown == {"hits": [HIT], "took_ms": 3.5, "next_cursor": "NQ=="}


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("file_type=pdf", {"file_type": {"eq": "pdf"}}),
        ("name~=a>b", {"name": {"contains": "=a>b"}}),
        ("file_size >= 1000", {"file_size": {"gte": 1000}}),
        ("name=2026", {"name": {"eq": "2026"}}),
        ("metadata.year!=2026", {"metadata.year": {"ne": 2026}}),
        ('metadata.year="2026"', {"metadata.year": {"eq": "2026"}}),
        ("metadata.draft=false", {"metadata.draft": {"eq": False}}),
        ("metadata.author=Li", {"metadata.author": {"eq": "Li"}}),
        ("metadata.day<2026-01-31", {"metadata.day": {"lt": "2026-01-31"}}),
        ("created_at>2026-01-31T12:00:00+00:00", {"created_at": {"gt": "2026-01-31T12:00:00+00:00"}}),
        ('{"any": [{"file_type": ["pdf", "docx"]}]}', {"any": [{"file_type": ["pdf", "docx"]}]}),
    ],
)
def test_a_filter_is_of_the_apis_grammar(told: str, meant: dict[str, Any]) -> None:
    compile_filters(filters.parse([told]), {})
    if "created_at" in meant:
        assert in_time(filters.parse([told])) == in_time(meant)
    else:
        assert filters.parse([told]) == meant


def in_time(filters: Any) -> datetime:
    return datetime.fromisoformat(filters["created_at"]["gt"])


def test_a_day_begins_at_midnight_here() -> None:
    moment = in_time(filters.parse(["created_at>2026-01-31"]))
    assert moment.tzinfo is not None
    assert moment == datetime(2026, 1, 31).astimezone()


def test_of_several_filters_all_must_hold_even_on_one_field() -> None:
    assert filters.parse([]) is None
    assert filters.parse(["version>1", "version<3"]) == {"all": [{"version": {"gt": 1}}, {"version": {"lt": 3}}]}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("pdf", "is no filter: write FIELD=VALUE"),
        ("=pdf", "is no filter"),
        ("file_size>big", "a whole number"),
        ("created_at>=yesterday", "a time such as"),
        ('{"any": ', "is no JSON object"),
    ],
)
def test_what_is_no_filter_is_said_and_not_sent(run: Run, api: FakeApi, told: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        filters.parse([told])
    refused = run("search", "x", "--filter", told)
    assert (refused.exit_code, refused.stdout, api.searches) == (2, "", [])
