from __future__ import annotations

import pymupdf

from deploy.sample import QUESTIONS, sample_pdf


def test_the_sample_is_the_same_at_every_time() -> None:
    assert sample_pdf() == sample_pdf()


def test_its_pages_are_english_and_chinese_and_each_text_is_found_on_its_page() -> None:
    with pymupdf.open(stream=sample_pdf()) as document:
        pages = [page.get_text().replace("\n", "") for page in document]
    assert len(pages) == 4
    assert "A line of people" in pages[0]
    assert "潜火队" in pages[1]
    assert "If a worker dies in the middle of a step" in pages[2]
    assert "文档也这样传递" in pages[3]


def test_no_page_is_cut_off_or_joined_by_ligatures() -> None:
    with pymupdf.open(stream=sample_pdf()) as document:
        text = "".join(page.get_text() for page in document)
    assert "each could be claimed after the fire." in text.replace("\n", " ")
    assert "也能得到英文的段落。" in text
    assert "ﬁ" not in text


def test_one_question_is_asked_in_each_language() -> None:
    assert [question.isascii() for question in QUESTIONS] == [True, False]
