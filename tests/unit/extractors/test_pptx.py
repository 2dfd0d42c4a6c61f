from __future__ import annotations

import io
from pathlib import Path

import pptx as python_pptx
import pytest
from pptx.util import Inches

from common.errors import Rejected
from functions.extractors import pptx
from functions.pieces import Piece
from tests.unit.extractors.reading import options, pages


def deck() -> bytes:
    presentation = python_pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[0])
    first.shapes.title.text = "The deck"
    first.placeholders[1].text = "A subtitle"
    second = presentation.slides.add_slide(presentation.slide_layouts[1])
    second.placeholders[1].text = "first\vbroken\n第二 😀"
    # The title is drawn last.
    second.shapes._spTree.append(second.shapes.title._element)
    second.shapes.title.text = "Points"
    table = second.shapes.add_table(3, 3, 0, 0, Inches(1), Inches(1)).table
    for at, text in enumerate(("Name", "Age", "2024", "Ann", "", "7", "Bob", "5", "")):
        table.cell(at // 3, at % 3).text = text
    table.cell(2, 0).merge(table.cell(2, 1))
    second.shapes.add_textbox(0, 0, 1, 1).text_frame.text = "beside"
    second.notes_slide.notes_text_frame.text = "What I say"
    presentation.slides.add_slide(presentation.slide_layouts[6])
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def test_each_slide_is_a_page_with_title_texts_tables_and_notes(tmp_path: Path) -> None:
    found = pages(pptx, deck(), tmp_path)
    assert found == {
        1: [Piece("The deck", "heading", 1), Piece("A subtitle")],
        2: [
            Piece("Points", "heading", 2),
            Piece("- first\nbroken", "item"),
            Piece("- 第二 😀", "item"),
            Piece("Name: Ann; 2024: 7", "row"),
            Piece("Name: Bob 5", "row"),
            Piece("beside"),
            Piece("What I say"),
        ],
        3: [],
    }


@pytest.mark.parametrize(("cut", "code"), [(-30, "FILE_DAMAGED"), (None, "TOO_MANY_PAGES")])
def test_a_deck_that_cannot_be_read_is_refused(cut: int | None, code: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        pages(pptx, deck()[:cut], tmp_path, options(max_pages=2))
    assert caught.value.code == code
