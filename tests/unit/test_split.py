from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.chunking import HEADING_TOKENS, Chunking, largest
from common.embedding import Tokens
from common.index.rows import MAX_TEXT_BYTES
from common.records import Chunk, Page
from common.settings import Settings
from functions.extractors import Options, text
from functions.ingest import sentences
from functions.ingest.preprocess import preprocess
from functions.ingest.split import split
from tests.unit import documents
from tests.unit.stand_ins import Words, context

_DEFAULTS = Settings()


def _split(pages: Iterable[str], *, size: int = 16, overlap: int = 0, tokens: Any = None) -> list[Chunk]:
    given = _DEFAULTS.model_copy(update={"chunk_tokens": size, "chunk_overlap_tokens": overlap})
    ctx = context(settings=given, tokens=tokens or Words())
    chunks = list(split(ctx, [Page(number, page) for number, page in enumerate(pages, start=1)]))
    assert ctx.details == {
        "chunks": len(chunks),
        "chunking": {"size": min(size, largest(ctx.services.tokens.max_tokens)), "overlap": overlap, "by": "heading"},
    }
    return chunks


def test_a_base_that_says_so_has_its_documents_split_otherwise() -> None:
    ctx = context(settings=_DEFAULTS, tokens=Words())
    pages = [Page(1, " ".join(_words(8) for _ in range(10)))]
    ctx.target = replace(ctx.target, chunking=Chunking(24, 8))
    chunks = list(split(ctx, pages))
    assert [Words().count(chunk.text) for chunk in chunks] == [24, 24, 24, 24, 16]
    assert all(before.end > after.start for before, after in pairwise(chunks))
    ctx.target = replace(ctx.target, chunking=None)
    assert len(list(split(ctx, pages))) == 1


def _texts(pages: Iterable[str], **options: Any) -> list[str]:
    return [chunk.text for chunk in _split(pages, **options)]


def _words(count: int, letter: str = "w") -> str:
    """A sentence of so many words."""
    return " ".join([letter.upper() + letter] + [letter] * (count - 2) + [letter + "."])


def _sentences(source: str) -> list[str]:
    cuts = [0, *(end for end, _ in sentences.ends(source)), len(source)]
    return [source[start:end].strip() for start, end in pairwise(cuts) if source[start:end].strip()]


@pytest.mark.parametrize(
    "whole",
    [
        ["One ends.", "Two ends!", "Does three?", "Four; ", "five."],
        ["He said “No.”", "No.", "Never.", "See no. 5, please.", "She left.", "(Really!)", "Yes."],
        ["人工智能。", "他说：“你好！”", "真的？", "是；", "不是……", "完"],
        ["「早安。」", "他走了。"],
        ["Dr. Smith met J. Doe, e.g. in Fig. 3 of vol. 2, at 3.14 p.m. sharp.", "Then they left."],
        ["Version 2.0.1 is out.", "See example.org for more."],
        ["Wait ... what?", "Nothing."],
        ["Introduction ... 7", "\n", "Next"],
        ["A heading\n", "A line\n", "Another line"],
    ],
)
def test_sentences_of_both_languages_end_where_readers_think(whole: list[str]) -> None:
    joined = "".join(part if part.endswith("\n") else part + " " for part in whole)
    assert _sentences(joined) == [part.strip() for part in whole if part.strip()]


def test_chinese_sentences_need_no_space_between_them() -> None:
    assert _sentences("第一句。第二句！“第三句？”第四句") == ["第一句。", "第二句！", "“第三句？”", "第四句"]


def test_a_short_document_is_one_chunk_with_its_offsets() -> None:
    assert _split(["  Hello, world.\n"]) == [Chunk(0, 1, 2, 15, "Hello, world.")]


def test_an_empty_document_has_no_chunk() -> None:
    assert _split(["", " \n", ""]) == []
    assert _split([]) == []


def test_chunks_end_with_paragraphs_where_they_are_half_full() -> None:
    paragraphs = [_words(10, "a"), f"{_words(6, 'b')} {_words(6, 'b')}"]
    assert _texts(["\n\n".join(paragraphs)]) == paragraphs


def test_a_short_paragraph_is_filled_up_with_the_next() -> None:
    source = f"{_words(3, 'a')}\n\n{_words(12, 'b')} {_words(12, 'c')}"
    assert _texts([source]) == [f"{_words(3, 'a')}\n\n{_words(12, 'b')}", _words(12, "c")]


def test_the_next_chunk_repeats_whole_sentences_that_fit() -> None:
    source = [_words(6, "a"), _words(4, "b"), _words(6, "c"), _words(8, "d")]
    assert _texts([" ".join(source)], overlap=4) == [" ".join(source[:3]), source[3]]
    assert _texts([" ".join(source)], overlap=6) == [" ".join(source[:3]), " ".join(source[2:])]


def test_what_is_repeated_gives_way_to_a_long_sentence() -> None:
    source = [_words(8, "a"), _words(8, "b"), _words(12, "c")]
    assert _texts([" ".join(source)], overlap=8) == [" ".join(source[:2]), source[2]]


def test_a_sentence_longer_than_a_chunk_is_cut_between_tokens() -> None:
    assert _texts([_words(40)]) == [
        "Ww" + " w" * 15,
        "w" + " w" * 15,
        "w" + " w" * 6 + " w.",
    ]
    assert _texts(["字" * 40]) == ["字" * 16, "字" * 16, "字" * 8]


def test_a_model_that_takes_little_at_once_leaves_room_for_more_than_headings() -> None:
    class Few(Words):
        max_tokens = 40

    assert max(map(Words().count, _texts([_words(200)], size=2048, tokens=Few()))) == 30


def test_the_models_limit_is_above_the_setting() -> None:
    assert max(map(Words().count, _texts([_words(2000)], size=2048))) == Words.max_tokens - HEADING_TOKENS


def test_a_sentence_goes_on_over_the_page_and_its_chunk_is_where_it_starts() -> None:
    chunks = _split(["First.\n\nThe sentence", "goes on.\n\n" + _words(14)])
    assert [(chunk.page, chunk.text) for chunk in chunks] == [
        (1, "First.\n\nThe sentence\ngoes on."),
        (2, _words(14)),
    ]


def test_a_sentence_is_whole_even_where_a_page_ends_in_it() -> None:
    assert _texts([_words(10) + " Aa a a a", "a a a a."]) == [_words(10), "Aa a a a\na a a a."]


def test_a_chunk_that_starts_behind_an_empty_page_knows_its_page() -> None:
    assert [(chunk.page, chunk.start) for chunk in _split(["", "\n", "Text."])] == [(3, 3)]


def test_a_document_that_ends_no_sentence_is_not_held_whole() -> None:
    seen: list[int] = []

    def pages() -> Iterator[Page]:
        for number in range(100):
            seen.append(number)
            yield Page(1, "word " * 1000)

    ctx = context(settings=Settings(chunk_tokens=16), tokens=Words())
    next(split(ctx, pages()))
    assert len(seen) < 5


class Pieces(Words):
    """Tokens as the model makes them: parts of words, several to a character, some characters in none."""

    def spans(self, source: str) -> list[tuple[int, int]]:
        spans = []
        for at, character in enumerate(source):
            if character == "㈱":
                spans += [(at, at + 1)] * 3
            elif not character.isspace() and character != "¤":
                spans.append((at, at + 1))
        return spans


_PAGES = st.lists(
    st.text(st.sampled_from("aab字字㈱¤ .。!？；;”\n\t-"), max_size=120)
    | st.lists(st.sampled_from(["word", "字", "end.", "句。", "\n", "\n\n", "Mr.", "…"]), max_size=40).map(" ".join),
    max_size=6,
)


@given(_PAGES, st.integers(16, 40), st.integers(0, 20), st.sampled_from([Words(), Pieces()]))
@settings(max_examples=300, deadline=None)
def test_the_invariants_hold_for_any_text(pages: list[str], size: int, overlap: int, tokens: Words) -> None:
    document = "".join(page + "\n" for page in pages)
    page_of = [number for number, page in enumerate(pages, start=1) for _ in page + "\n"]
    chunks = _split(pages, size=size, overlap=overlap, tokens=tokens)

    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    covered = set[int]()
    for chunk in chunks:
        assert document[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.page == page_of[chunk.start]
        assert tokens.count(chunk.text) <= size
        covered.update(range(chunk.start, chunk.end))
    assert not [at for at, character in enumerate(document) if at not in covered and not character.isspace()]
    assert all(one.start < next_one.start and one.end < next_one.end for one, next_one in pairwise(chunks))


@given(_PAGES, st.integers(16, 40), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_no_sentence_that_fits_is_cut(pages: list[str], size: int, overlap: int) -> None:
    # One page, so that the sentences are those of the whole text.
    document = "\n\n".join(pages) + "\n"
    tokens = Words()
    chunks = _split([document[:-1]], size=size, overlap=overlap, tokens=tokens)
    cuts = [0, *(end for end, _ in sentences.ends(document)), len(document)]
    for start, end in pairwise(cuts):
        sentence = document[start:end].strip()
        if sentence and tokens.count(sentence) <= size:
            first = start + document[start:end].index(sentence)
            assert any(chunk.start <= first and first + len(sentence) <= chunk.end for chunk in chunks), sentence


def test_the_models_own_tokens_are_counted_and_none_is_lost() -> None:
    model = Settings().model_dir
    if not model.exists():
        pytest.skip("needs the embedding model: make model")
    tokens = Tokens(model)
    prose = (
        "The quick brown fox jumps over the lazy dog. 敏捷的棕色狐狸跳过了懒狗，它每天都这样做。㈱ naïve ½ “quoted”! "
        "Donaudampfschifffahrtsgesellschaftskapitän?\n"
    )
    chunks = _split([prose * 40, "字" * 3000], size=64, overlap=16, tokens=tokens)
    assert max(tokens.count(chunk.text) for chunk in chunks) <= 64


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    small, large = (_peak_of_splitting(tmp_path / f"{size}.txt", size << 10) for size in (256, 1024))
    assert large < 1.2 * small


def _peak_of_splitting(source: Path, size: int) -> int:
    """The most bytes that Python held from the file to its last chunk."""
    documents.large_text(source, size)
    ctx = context(settings=_DEFAULTS, tokens=Words())
    tracemalloc.start()
    try:
        pages = text.extract(
            source, Options(name="large.txt", max_inflated_bytes=0, max_pages=1, max_characters=1 << 40)
        )
        count = sum(1 for _ in split(ctx, preprocess(ctx, pages)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > size / 2000
    return peak


def test_a_chunk_ends_with_its_page_and_repeats_nothing_of_the_one_before() -> None:
    chunks = _split(["One two. Three four.", "Five six. Seven eight."], size=100, overlap=10)
    assert [(chunk.page, chunk.text) for chunk in chunks] == [
        (1, "One two. Three four."),
        (2, "Five six. Seven eight."),
    ]


_HUGE = st.lists(
    st.tuples(
        st.sampled_from(
            [" ", "\n", " \n", "a", "😀", "字", "¤", "㈱", "👨\u200d👩\u200d👧", "e\u0301", "a. ", "\u200b"]
        ),
        st.sampled_from([1, 2, 300, 16_000, 16_500, 40_000]),
    ).map(lambda run: run[0] * run[1]),
    max_size=5,
).map("".join)


@given(st.lists(_HUGE, max_size=3), st.integers(16, 40), st.integers(0, 20), st.sampled_from([Words(), Pieces()]))
@settings(max_examples=60, deadline=None)
def test_no_chunk_is_longer_than_the_index_takes(pages: list[str], size: int, overlap: int, tokens: Words) -> None:
    document = "".join(page + "\n" for page in pages)
    chunks = _split(pages, size=size, overlap=overlap, tokens=tokens)
    covered = 0
    for chunk in chunks:
        assert len(chunk.text.encode()) <= MAX_TEXT_BYTES
        assert document[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != ""
        assert not document[covered : chunk.start].strip()
        covered = chunk.end
    assert not document[covered:].strip()
    assert all(one.start < next_one.start and one.end < next_one.end for one, next_one in pairwise(chunks))
