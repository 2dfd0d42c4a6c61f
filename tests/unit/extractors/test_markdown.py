from __future__ import annotations

from pathlib import Path

import pytest

from functions.extractors import markdown
from functions.pieces import Piece
from tests.unit.extractors.reading import options, pieces, read


def test_markdown_loses_its_marks_and_keeps_its_structure(tmp_path: Path) -> None:
    source = (
        "# Head *line*\n\nSome `code`, a [link](http://example.org) and\n![a picture](x.png).\n\nUnder\n---\n\n"
        "- one\n- two\n  - three\n\n    more\n\n7. seven\n8. eight\n\n"
        "| Name | Age |\n|---|---|\n| Ann | 42 |\n| Bob | |\n\n```python\nx = 1\n\ny = 2\n```\n\n> 引用 <b>bold</b>\n"
    )
    assert pieces(markdown, source.encode(), tmp_path) == [
        Piece("Head line", "heading", 1),
        Piece("Some code, a link and\na picture."),
        Piece("Under", "heading", 2),
        Piece("- one", "item"),
        Piece("- two", "item"),
        Piece("- three", "item"),
        Piece("more"),
        Piece("7. seven", "item"),
        Piece("8. eight", "item"),
        Piece("Name: Ann; Age: 42", "row"),
        Piece("Name: Bob", "row"),
        Piece("x = 1\n\ny = 2", "verbatim"),
        Piece("引用 bold"),
    ]


def test_front_matter_is_no_heading_but_its_title_is(tmp_path: Path) -> None:
    given = options()
    source = b'---\ntitle: "A guide"\ntags: x\n---\nText\n'
    assert pieces(markdown, source, tmp_path, given) == [
        Piece("A guide", "heading", 1),
        Piece('title: "A guide"\ntags: x', "verbatim"),
        Piece("Text"),
    ]
    assert given.details["title"] == "A guide"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [" ", "\n", " \n", "---\n", "<", "<!", "</", "- ", "| ", "1. "])
def test_reading_markdown_takes_no_more_time_than_its_length_explains(piece: str, tmp_path: Path) -> None:
    long = piece * (20_000 // len(piece))
    assert read(markdown, f"x\n\n---\n<b>{long}\n\nx".encode(), tmp_path).startswith("x")
