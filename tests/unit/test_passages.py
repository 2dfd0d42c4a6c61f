from __future__ import annotations

import io

from rich.console import Console

from deploy.cli.passages import excerpt, pattern, show
from deploy.client import Hit

LONG = "Nothing of interest stands here. " * 30 + "A leather bucket hung by the door. " + "Nor does it here. " * 30


def highlighted(query: str, text: str) -> list[str]:
    shown = excerpt(text, pattern(query))
    return [shown.plain[span.start : span.end] for span in shown.spans if "yellow" in str(span.style)]


def test_the_part_that_the_question_is_about_is_shown() -> None:
    shown = excerpt(LONG, pattern("leather bucket")).plain
    assert "A leather bucket hung by the door." in shown
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) < 260


def test_a_short_passage_is_shown_whole() -> None:
    assert excerpt("All\nof it.", pattern("anything")).plain == "All of it."


def test_whole_words_are_highlighted_and_short_ones_are_not() -> None:
    assert highlighted("is the bucket full", "The bucket, not buckets, is FULL") == ["bucket", "FULL"]


def test_chinese_is_highlighted_by_pairs_as_it_has_no_spaces() -> None:
    assert "".join(highlighted("救火队伍叫什么？", "专门的救火队伍。")) == "救火队伍"


def test_the_part_with_most_different_words_wins_over_one_that_repeats_a_word() -> None:
    text = "bucket bucket bucket. " + "nothing of interest. " * 30 + "A leather bucket by the door."
    assert "A leather bucket by the door." in excerpt(text, pattern("leather bucket door")).plain


def test_line_breaks_within_chinese_leave_no_space() -> None:
    assert excerpt("一旦起火便立即出\n动。\nA word\nmore", None).plain == "一旦起火便立即出动。 A word more"


def test_a_question_of_punctuation_highlights_nothing() -> None:
    assert highlighted("?!", "What?!") == []


def test_marks_in_a_passage_are_text_and_no_markup() -> None:
    out = io.StringIO()
    hit = Hit("d", "[red]a.pdf", 1, 0, 2, 0, 5, "[bold]text[/bold]", 0.5)
    show(Console(file=out, width=100), "question", [hit])
    assert "[red]a.pdf, page 2" in out.getvalue()
    assert "[bold]text[/bold]" in out.getvalue()
