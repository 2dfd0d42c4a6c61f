from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.http.highlights import highlights


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        (
            "How do I configure the network?",
            "To CONFIGURE the Network, edit /etc/network.",
            ["CONFIGURE", "Network", "network"],
        ),
        ("如何配置网络接口", "要配置PostgreSQL网络接口，请编辑接口文件。", ["配置", "网络接口", "接口"]),
        ("网", "网络", ["网"]),
        ("the", "the one word that was asked for", ["the"]),
        ("!?。", "Nothing! 没有。", []),
        ("network", "networks are other words", []),
    ],
)
def test_the_questions_words_are_found(query: str, text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in highlights(query, text)] == expected


@given(st.text("ab 网络。", max_size=40), st.text("ab 网络。", max_size=80))
def test_they_are_in_order_and_apart_and_within_the_text(query: str, text: str) -> None:
    found = highlights(query, text)
    edges = [edge for one in found for edge in one]
    assert edges == sorted(set(edges)) or not found
    assert all(0 <= start < end <= len(text) for start, end in found)


def test_a_long_question_and_a_long_passage_cost_little() -> None:
    assert highlights("网络" * 5000 + " word" * 5000, "网" * 50_000) == []
