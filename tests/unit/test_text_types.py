"""Which texts are told apart by how they begin, and which only by their names."""

from __future__ import annotations

import pytest

from functions.extractors import CODE, DOC, EML, HTML, JSON, JSONL, MARKDOWN, MSG, TEXT, XML, ZIP, Format
from functions.ingest.containers import Content
from functions.ingest.types import judge
from tests.unit import compound
from tests.unit.documents import archive

MAIL = b"Received: from a\r\n by b\r\nFrom: Ada <ada@example.org>\r\nSubject: Buckets\r\nDate: today\r\n\r\nHello"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a", MAIL, EML),
        ("a.eml", b"Subject: Buckets\n\nHello", EML),
        ("a.eml", b"Hello, this is only a text.", TEXT),
        ("a.txt", MAIL, TEXT),
        ("a", b"From: Ada\nNote: this is no mail\n\nHello", TEXT),
        (
            "a",
            b"Subject: a list of fields\nname: Ada\nage: 36\ncity: Kaifeng\nplan: none\nfrom: x\nto: y\ndate: z",
            TEXT,
        ),
        ("a", b"Here is\nFrom: Ada\nTo: Bob\nSubject: x\n", TEXT),
        ("a.json", b' {"a": 1}', JSON),
        ("a.json", b"[1, 2]", JSON),
        ("a.json", b"Only named so", TEXT),
        ("a", b'\xef\xbb\xbf{\n  "a": [1]\n}', JSON),
        ("a", '{"a": 1}'.encode("utf-16"), JSON),
        ("a.log", b"[2024-01-01 10:00] started\n[2024-01-01 10:01] ended", TEXT),
        ("a", b"{ curly } braces in a text", TEXT),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', JSONL),
        ("a", b'{"a": 1}\n{"a": 2}\n', JSONL),
        ("a.jsonl", b'{"a": 1}', JSONL),
        ("a", b"<?xml version='1.0'?><rss/>", XML),
        ("a.xml", b"<rss/>", XML),
        ("a.xml", b"Only named so", TEXT),
        ("a.xml", b"<?xml version='1.0'?><html xmlns='x'><body/></html>", HTML),
        ("a.py", b"import os", CODE),
        ("a.PY", b'{"a": 1}', CODE),
        ("a.yaml", b"from: here\nto: there\nsubject: x\n", CODE),
        ("README.md", b'{"a": 1}', MARKDOWN),
        ("a", archive({"a.txt": b"a"}), ZIP),
        ("a.txt", archive({"a.txt": b"a"}), ZIP),
        ("a.zip", archive({}), ZIP),
        ("a", compound.msg("Buckets", "Hello"), MSG),
        ("a.docx", compound.old_word("Hello"), DOC),
    ],
)
def test_a_text_or_container_is_what_its_content_says(name: str, data: bytes, kind: Format) -> None:
    content = Content(len(data), data[: 64 << 10], lambda start, length: data[start : start + length])
    assert judge(name, content) is kind
