from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from deploy.client import Client
from deploy.local.demo import Demo, DemoFailed
from deploy.local.report import Report
from deploy.sample import NAME, QUESTIONS, sample_pdf
from tests.unit.fake_api import HIT, KEY, STEPS, FakeApi, fake_api

ANSWER = HIT | {"document_name": NAME, "page": 3, "text": "If a worker dies in the middle of a step"}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as api:
        api.hits = [ANSWER]
        yield api


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def show(api: FakeApi, memory: Path, *, terminal: bool = False) -> str:
    """What a run of the demo prints."""
    out = io.StringIO()
    with Client(api.url, KEY) as client:
        report = Report(Console(file=out, width=100, force_terminal=terminal))
        Demo(client, report, memory, lambda: None).run()
    return out.getvalue()


def test_the_sample_goes_through_and_answers_in_both_languages(api: FakeApi, memory: Path) -> None:
    said = show(api, memory)
    assert api.stored == {"d0": sample_pdf()}
    assert all(f"{step} " in said for step in STEPS)
    assert [search["query"] for search in api.searches] == list(QUESTIONS)
    assert all(search["document_ids"] == ["d0"] for search in api.searches)
    assert f"{NAME}, version 1, page 3" in said


def test_a_terminal_sees_a_bar_for_each_step(api: FakeApi, memory: Path) -> None:
    said = show(api, memory, terminal=True)
    assert all(step in said for step in (*STEPS, "overall"))
    assert "━" in said


def test_the_next_run_asks_again_and_uploads_nothing(api: FakeApi, memory: Path) -> None:
    show(api, memory)
    said = show(api, memory)
    assert len(api.stored) == 1
    assert len(api.searches) == 2 * len(QUESTIONS)
    assert "from an earlier run" in said


def test_a_sample_still_on_its_way_from_a_killed_run_is_followed(api: FakeApi, memory: Path) -> None:
    show(api, memory)
    api.seen.clear()
    assert "still on its way" in show(api, memory)
    assert len(api.stored) == 1


def test_a_sample_that_is_gone_from_the_server_is_uploaded_again(api: FakeApi, memory: Path) -> None:
    show(api, memory)
    api.names.clear()
    api.stored.clear()
    show(api, memory)
    assert len(api.stored) == 1


def test_a_memory_that_is_broken_is_none(api: FakeApi, memory: Path) -> None:
    memory.write_text("{half a li")
    show(api, memory)
    assert len(api.stored) == 1


def test_a_sample_that_fails_is_an_error_with_its_reason_and_tried_anew_next_time(api: FakeApi, memory: Path) -> None:
    api.failing = frozenset({NAME})
    with pytest.raises(DemoFailed, match="no text layer"):
        show(api, memory)
    api.failing = frozenset()
    api.names["d0"] = "failed"
    api.failing = frozenset({"failed"})
    show(api, memory)
    assert set(api.stored) == {"d0", "d1"}


def test_no_answer_is_an_error(api: FakeApi, memory: Path) -> None:
    api.hits = []
    with pytest.raises(DemoFailed, match="Nothing was found"):
        show(api, memory)
