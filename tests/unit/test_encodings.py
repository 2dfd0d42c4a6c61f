"""Texts in whatever encoding they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.extractors import (
    encodings,
    text,
)
from tests.unit.extractors.reading import read

SIMPLIFIED = [
    "人工智能正在改变世界。",
    "合同编号：2024-001，甲方：北京科技有限公司",
    "你好，世界",
    "会议记录",
    "今天天气很好。",
]
TRADITIONAL = [
    "人工智慧正在改變世界。",
    "合約編號：2024-001，甲方：臺北科技有限公司",
    "你好，世界",
    "會議記錄",
    "今天天氣很好。",
]


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        *(("gb18030", sentence) for sentence in SIMPLIFIED),
        *(("big5", sentence) for sentence in TRADITIONAL),
        *(("utf-8", sentence) for sentence in (*SIMPLIFIED, *TRADITIONAL)),
        ("utf-8-sig", "你好"),
        ("utf-16", "你好"),
        ("utf-32", "你好"),
        ("utf-16-le", "Hello, wörld"),
        ("utf-16-be", "Hello, wörld"),
        ("gb18030", "A long English sentence in which one word is Chinese: 中国. And so it goes on."),
        ("shift_jis", "これはテストです。"),
        ("euc_jp", "これはテストです。"),
        ("euc_kr", "이것은 시험 문서입니다."),
        ("cp1252", "Café à la crème, garçon"),
        ("cp1252", "Die Größe der Straße über München ist “schön”"),
        ("cp1251", "Привет, мир! Это проверка кодировки текста."),
        ("ascii", "Plain"),
    ],
)
def test_a_short_text_comes_out_right_in_whatever_encoding(encoding: str, sentence: str, tmp_path: Path) -> None:
    assert read(text, sentence.encode(encoding), tmp_path) == sentence


def test_a_character_across_two_reads_is_one_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_READ_BYTES", 7)
    for encoding in ("utf-8", "gb18030", "utf-16"):
        assert read(text, ("今天天气很好\r\n" * 5).encode(encoding), tmp_path) == "\n".join(["今天天气很好"] * 5)


def test_a_long_ascii_beginning_does_not_hide_the_encoding(tmp_path: Path) -> None:
    content = "x" * 300_000 + "\n今天天气很好，我们去公园散步吧。"
    assert read(text, content.encode("gb18030"), tmp_path).replace("\n", "") == content.replace("\n", "")


def test_one_stray_byte_does_not_turn_utf_8_into_something_else(tmp_path: Path) -> None:
    content = "今天天气很好，我们去公园散步吧。\n".encode() * 200
    assert read(text, content + b"\xff" + content, tmp_path).count("今天天气很好") == 400


def test_encodings_are_told_apart_without_reading_on(tmp_path: Path) -> None:
    blocks = iter([b"plain ", "会议记录".encode("gb18030"), b"never", b"read"])
    assert encodings.detect(blocks) == "gb18030"
    assert list(blocks) == [b"read"]
