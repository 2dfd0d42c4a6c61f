"""Several lists of hits made one."""

from __future__ import annotations

import pytest

from common.index import Hit
from common.index.fusion import fuse


def _list(name: str, scores: dict[str, float]) -> list[Hit]:
    return [Hit(document, 1, 0, 1, 0, 1, "x", score=score, found_by=(name,)) for document, score in scores.items()]


def _dense(**scores: float) -> list[Hit]:
    return _list("dense", scores)


def _keyword(**scores: float) -> list[Hit]:
    return _list("keyword", scores)


def _order(*lists: list[Hit]) -> list[str]:
    return [hit.document_id for hit in fuse(lists)]


def test_what_both_lists_have_stands_first_and_says_so() -> None:
    fused = fuse([_dense(a=0.9, b=0.87, d=0.8), _keyword(c=8, b=6)])
    assert [(hit.document_id, hit.found_by) for hit in fused] == [
        ("b", ("dense", "keyword")),
        ("a", ("dense",)),
        ("c", ("keyword",)),
        ("d", ("dense",)),
    ]
    assert [hit.score for hit in fused] == pytest.approx([0.55 * 0.7 + 0.45 * 0.75, 0.55, 0.45, 0])


def test_the_best_of_both_lists_has_one() -> None:
    assert fuse([_dense(a=0.9, b=0.8), _keyword(a=3)])[0].score == pytest.approx(1)


def test_meaning_counts_for_more_than_words() -> None:
    assert _order(_dense(a=0.8), _keyword(b=9)) == ["a", "b"]
    assert _order(_keyword(b=9), _dense(a=0.8)) == ["a", "b"]


def test_by_how_much_a_hit_is_the_best_counts() -> None:
    words = _keyword(b=9, c=8.9)
    assert _order(_dense(a=0.9, b=0.89, c=0.7), words) == ["b", "a", "c"]
    assert _order(_dense(a=0.9, b=0.72, c=0.7), words) == ["a", "b", "c"]


def test_what_only_words_find_is_not_behind_all_that_means_something_similar() -> None:
    similar = {f"similar{number}": 0.86 - 0.002 * number for number in range(20)}
    assert "exact" in _order(_dense(**similar), _keyword(exact=12))[:5]


def test_hits_of_equal_scores_are_all_the_best() -> None:
    assert [hit.score for hit in fuse([_dense(a=0.8, b=0.8), _keyword(c=0.0)])] == pytest.approx([0.55, 0.55, 0.45])


def test_lists_of_two_collections_take_turns() -> None:
    assert _order(_dense(a=0.9, b=0.8), [], _dense(c=0.7, d=0.6)) == ["a", "c", "b", "d"]
