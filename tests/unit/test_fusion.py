"""Several lists of hits made one."""

from __future__ import annotations

import pytest

from common.index import Hit
from common.index.fusion import fuse


def _list(name: str, *documents: str) -> list[Hit]:
    return [Hit(document, 1, 0, 1, 0, 1, "x", found_by=(name,)) for document in documents]


def _order(*lists: list[Hit]) -> list[str]:
    return [hit.document_id for hit in fuse(lists)]


def test_what_both_lists_have_stands_first_and_says_so() -> None:
    fused = fuse([_list("dense", "a", "b"), _list("keyword", "c", "b")])
    assert [(hit.document_id, hit.found_by) for hit in fused] == [
        ("b", ("dense", "keyword")),
        ("a", ("dense",)),
        ("c", ("keyword",)),
    ]
    assert fused[0].score == pytest.approx(1 / 4 + 0.6 / 4)


def test_meaning_counts_for_more_than_words() -> None:
    assert _order(_list("dense", "a"), _list("keyword", "b")) == ["a", "b"]
    assert _order(_list("keyword", "b"), _list("dense", "a")) == ["a", "b"]


def test_what_only_words_find_is_not_behind_all_that_means_something_similar() -> None:
    similar = [f"similar-{number}" for number in range(20)]
    assert "exact" in _order(_list("dense", *similar), _list("keyword", "exact"))[:4]


def test_lists_of_two_collections_take_turns() -> None:
    assert _order(_list("dense", "a", "b"), _list("dense", "c", "d")) == ["a", "c", "b", "d"]
