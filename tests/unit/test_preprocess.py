from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Cancelled, Rejected
from common.records import Page
from functions.ingest import sentences
from functions.ingest.preprocess import preprocess
from tests.unit.stand_ins import context


def _clean(text: str) -> str:
    page, _ = preprocess(context(), [Page(3, text), Page(4, "so that not all of it is blank")])
    assert page.number == 3
    return page.text


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        # Newlines and spaces
        ("one\r\ntwo\rthree\ffour\u2028five", "one\ntwo\nthree\nfour\nfive"),
        ("one\u2029two", "one\n\ntwo"),
        ("one \t\n\n  \n\n\ntwo  ", "one\n\ntwo"),
        ("a\xa0b\u3000c\u2009d", "a b c d"),
        ("a" + " " * 70_000 + "b" + "\xa0\u3000" * 70_000 + "c", "a b c"),
        ("a \t \tb" + " \t" * 70_000 + "c", "a\t\tb" + "\t" * 8 + "c"),
        ("a" + "\n \t" * 70_000 + "b", "a\n\n\tb"),
        # What nobody sees
        ("a\x00b\x1bc\x7fd\u200be\ufefff\u202eg\u2060h\U000e0041i", "abcdefghi"),
        ("soft\xadhyphen, and soft\xad\nhyphen", "softhyphen, and softhyphen"),
        # Forms
        ("ofﬁce, ﬂow, eﬃcient", "office, flow, efficient"),
        ("ＡＢＣ１２３％ａ＝ｂ", "ABC123%a=b"),
        ("⼈⼯智能", "人工智能"),
        ("e\u0301te\u0301", "été"),
        ("你好，世界！（真的？）：是；“对”。", "你好，世界！（真的？）：是；“对”。"),
        ("1.1 Introduction . . . . . . . . . . 7", "1.1 Introduction ... 7"),
        ("第一章…………………7", "第一章 ... 7"),
        ("他走了……", "他走了……"),
        # Wrapped lines
        ("This is a paragraph that the\nlayout broke into several\nlines of text.", None),
        ("It was an exam-\nple of hyphenation.", "It was an example of hyphenation."),
        ("The text is encoded in UTF-\n8 by all the programs", "The text is encoded in UTF-8 by all the programs"),
        ("这是一段被排版折断的文字，它没有\n空格。", "这是一段被排版折断的文字，它没有空格。"),
        ("这一行文字的结尾处写着一个英文词\nLinux 和别的东西。", "这一行文字的结尾处写着一个英文词 Linux 和别的东西。"),
        ("이것은 줄바꿈으로 나누어진 긴\n문장입니다.", "이것은 줄바꿈으로 나누어진 긴 문장입니다."),
        # Lines that are meant
        (
            "Heading\nThe text under the heading goes on for a while.",
            "Heading\nThe text under the heading goes on for a while.",
        ),
        (
            "- the first item of a list, long\n- the second item of a list",
            "- the first item of a list, long\n- the second item of a list",
        ),
        (
            "1. the first item of a list, long\n2. the second item of a list",
            "1. the first item of a list, long\n2. the second item of a list",
        ),
        ("Name of the person\tAge of the person\nAnn\t42", "Name of the person\tAge of the person\nAnn\t42"),
        (
            "One paragraph that is long enough to wrap.\n\nAnother.",
            "One paragraph that is long enough to wrap.\n\nAnother.",
        ),
    ],
)
def test_a_text_is_cleaned(dirty: str, clean: str | None) -> None:
    assert _clean(dirty) == (dirty.replace("\n", " ") if clean is None else clean)


_TEXTS = st.text(st.characters() | st.sampled_from("\n\n\n \t-.。，中文abcＡ１ﬁ\u200b\xad\r\x00…"), max_size=300)
_WHITE = re.compile(r"\s")


@given(_TEXTS)
def test_nothing_invisible_no_stray_space_and_at_most_one_empty_line_is_left(text: str) -> None:
    clean = _clean(text)
    assert not [c for c in clean if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(clean) & set("\r\u200b\u200d\ufeff\xad\u2028\u202e")
    assert not re.search(r"[ \t](\n|\Z)", clean)
    assert "\n\n\n" not in clean
    assert "  " not in clean


@given(st.text(st.sampled_from("abcde ABC中文字，。！？\n\t12"), max_size=300))
def test_words_are_neither_lost_nor_made_up(text: str) -> None:
    assert _WHITE.sub("", _clean(text)) == _WHITE.sub("", text)


@given(
    st.lists(st.text(st.sampled_from("abc, 中文。"), min_size=1, max_size=80).map(str.strip).filter(bool), max_size=8)
)
def test_paragraphs_stay_apart(paragraphs: list[str]) -> None:
    assert _clean("\n\n".join(paragraphs)).split("\n\n") == ([re.sub(" +", " ", one) for one in paragraphs] or [""])


def test_pages_flow_one_at_a_time() -> None:
    taken = []

    def pages() -> Iterator[Page]:
        for number in (1, 2):
            taken.append(number)
            yield Page(number, "text")

    flow = preprocess(context(), pages())
    assert next(flow) == Page(1, "text")
    assert taken == [1]


def test_a_cancelled_task_stops_between_pages() -> None:
    ctx = context()

    def check() -> None:
        raise Cancelled

    ctx.on_check = check
    with pytest.raises(Cancelled):
        list(preprocess(ctx, [Page(1, "text")]))


@pytest.mark.parametrize("pages", [[], [""], ["\u200b\x00\ufeff", " \xad\n\u202e\t"]])
def test_a_document_of_which_nothing_is_left_is_refused_in_a_sentence(pages: list[str]) -> None:
    with pytest.raises(Rejected, match=r"holds no text") as caught:
        list(preprocess(context(), [Page(number, text) for number, text in enumerate(pages, start=1)]))
    assert caught.value.code == "NO_TEXT"


def test_one_page_with_text_is_enough() -> None:
    assert [page.text for page in preprocess(context(), [Page(1, "text"), Page(2, "\u200b")])] == ["text", ""]


def test_marks_that_are_heaped_on_a_letter_are_few_in_the_end() -> None:
    assert _clean("a" + "\u0327\u0301" * 500 + "\u3002" * 40) == unicodedata.normalize(
        "NFC", "a" + "\u0327\u0301" * 15 + "\u3002" * 40
    )


# A thousand of each take milliseconds even squared; these take minutes.
_LONG = 200_000
_PIECES = [
    *(
        " ",
        "\t",
        " \t",
        "\n",
        " \n",
        ".",
        "...x",
        " .",
        "?!",
        ";",
        ";.",
        ".)",
        ")",
        '"',
        "。",
        "…",
        "」",
        "-",
        "a-\n",
        "1",
    ),
    *(
        "1.",
        "A",
        "A.",
        "(a",
        "\xad",
        "\xad ",
        "字",
        "字\n",
        "\u0301",
        "\u0327\u0301",
        "\u05b0\u0301\u0327",
        "- ",
        "e.g",
    ),
]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("end", ["", "x", "\n", " x\n\ny"])
@pytest.mark.parametrize("piece", _PIECES)
def test_no_text_takes_more_time_than_its_length_explains(piece: str, end: str) -> None:
    text = "x" + piece * (_LONG // len(piece)) + end
    clean = _clean(text)
    for source in (text, clean, ")" * _LONG + text):
        assert all(0 < stop <= len(source) for stop, _ in sentences.ends(source))
