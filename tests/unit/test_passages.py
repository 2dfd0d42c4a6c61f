from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from deploy.cli.passages import excerpt, show
from deploy.client import Hit, Neighbour
from functions.http.highlights import highlights

LONG = "Nothing of interest stands here. " * 30 + "A leather bucket hung by the door. " + "Nor does it here. " * 30


def shown(query: str, text: str) -> str:
    return excerpt(text, highlights(query, text)).plain


def highlighted(text: str, *spans: tuple[int, int]) -> list[str]:
    told = excerpt(text, spans)
    return [told.plain[span.start : span.end] for span in told.spans if "yellow" in str(span.style)]


def printed(**told: Any) -> str:
    out = io.StringIO()
    hit: dict[str, Any] = {
        "document_id": "d",
        "document_name": "a.pdf",
        "knowledge_base_id": "k",
        "knowledge_base_name": "manuals",
        "version": 1,
        "chunk": 0,
        "page": 2,
        "start": 0,
        "end": 5,
        "text": "text",
        "score": 0.5,
        "headings": [],
        "places": [],
        "found_by": ["dense"],
        "highlights": [],
        "before": [],
        "after": [],
    }
    show(Console(file=out, width=100), [Hit(**hit | told)])
    return out.getvalue()


def test_the_part_that_the_question_is_about_is_shown() -> None:
    told = shown("leather bucket", LONG)
    assert "A leather bucket hung by the door." in told
    assert told.startswith("… ")
    assert told.endswith(" …")
    assert len(told) < 260


def test_a_short_passage_is_shown_whole() -> None:
    assert shown("anything", "All\nof it.") == "All of it."


def test_what_the_api_highlights_is_highlighted_where_it_is_on_one_line() -> None:
    text = " The\n\n bucket is\tfull of\nwater. "
    assert highlighted(text, (7, 13), (17, 21), (25, 30)) == ["bucket", "full", "water"]
    assert highlighted("水桶接力\n\n救火", (0, 2), (6, 8)) == ["水桶", "救火"]


def test_a_highlight_that_the_excerpts_edge_cuts_is_highlighted_up_to_it() -> None:
    at = LONG.index("leather")
    (told,) = highlighted(LONG, (at, len(LONG)))
    assert told.startswith("leather bucket")
    assert excerpt(LONG, [(at, len(LONG))]).plain.endswith(f"{told} …")


def test_the_part_with_most_different_words_wins_over_one_that_repeats_a_word() -> None:
    text = "bucket bucket bucket. " + "nothing of interest. " * 30 + "A leather bucket by the door."
    assert "A leather bucket by the door." in shown("leather bucket door", text)


def test_a_heading_and_what_is_under_it_stay_apart_in_chinese_too() -> None:
    assert shown("", "2. 水桶接力\n\n邻居们排成一列。\n") == "2. 水桶接力 邻居们排成一列。"


@pytest.mark.parametrize("hostile", ["[bold]text[/bold]", "a\x1b]0;title\x07b"])
def test_what_is_in_a_document_is_text_and_neither_markup_nor_a_command_to_the_terminal(hostile: str) -> None:
    neighbour = Neighbour(chunk=1, page=2, start=5, end=9, text=hostile)
    told = printed(text=hostile, document_name=hostile, headings=[hostile], after=[neighbour])
    assert told.count(hostile.replace("\x1b", " ").replace("\x07", " ")) == 4
    assert "\x1b" not in told


def test_with_its_neighbours_a_passage_reads_on_and_nothing_is_repeated() -> None:
    text = "".join(f"Sentence number {number}. " for number in range(60))

    def chunk(number: int, start: int, end: int) -> Neighbour:
        return Neighbour(chunk=number, page=1, start=start, end=end, text=text[start:end])

    told = printed(
        start=300,
        end=700,
        text=text[300:700],
        before=[chunk(0, 0, 200), chunk(1, 180, 320)],
        after=[chunk(3, 650, 900), chunk(4, 900, len(text))],
    )
    assert "".join("".join(told.splitlines()[1:]).split()) == "".join(text.split())


def test_with_its_neighbours_a_passage_keeps_its_line_breaks() -> None:
    after = Neighbour(chunk=1, page=2, start=9, end=18, text="- c\n- d\n")
    told = printed(text="- a\n- b\n", end=9, after=[after])
    assert [line.strip() for line in told.splitlines()[1:]] == ["- a", "- b", "- c", "- d"]
