"""What all formats have in common that are zips of XML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import Rejected
from functions.extractors import docx, epub, odf, packages, pptx, xlsx
from tests.unit import documents
from tests.unit.extractors.reading import options, pages

FORMATS = [
    (docx, "word/document.xml"),
    (pptx, "ppt/presentation.xml"),
    (xlsx, "xl/workbook.xml"),
    (odf, "content.xml"),
    (epub, "META-INF/container.xml"),
]


def refusal(extractor: Any, content: bytes, tmp_path: Path, **budgets: int) -> Rejected:
    with pytest.raises(Rejected) as caught:
        pages(extractor, content, tmp_path, options(**budgets))
    return caught.value


@pytest.mark.parametrize(("extractor", "part"), FORMATS)
def test_what_is_wrong_with_a_zip_is_said_the_same_way_in_every_format(
    extractor: Any, part: str, tmp_path: Path
) -> None:
    whole = documents.archive({part: b"<x>" + b"y" * 1000 + b"</x>"})
    found = refusal(extractor, whole, tmp_path, max_inflated_bytes=500)
    assert found.code == "INFLATES_TOO_LARGE"
    assert "BRIGADE_MAX_INFLATED_BYTES" in found.message
    # Bit 0 of the flags, in the directory.
    at = whole.index(b"PK\x01\x02") + 8
    assert refusal(extractor, whole[:at] + b"\x01" + whole[at + 1 :], tmp_path).code == "PASSWORD_PROTECTED"
    for damaged in (whole[:-40], documents.archive({}), documents.archive({part: b"<x>"}), b"", b"PK\x03\x04"):
        found = refusal(extractor, damaged, tmp_path)
        assert found.code == "FILE_DAMAGED"
        assert found.message.startswith("document is damaged: it cannot be read as a")


def test_parts_refer_to_parts_of_their_own_archive_alone(tmp_path: Path) -> None:
    relations = b"""<R><Relationship Id="a" Type="x/one" Target="../there.xml"/>
    <Relationship Id="b" Type="x/two" Target="/there.xml"/><Relationship Id="c" Type="x/no" Target="missing.xml"/>
    <Relationship Id="d" Type="x/no" Target="http://example.org/there.xml"/>
    <Relationship Id="e" Type="x/no" TargetMode="External" Target="/there.xml"/>
    <Relationship Id="f" Type="x/three" Target="../../../there.xml"/></R>"""
    path = tmp_path / "document"
    path.write_bytes(documents.archive({"in/_rels/part.xml.rels": relations, "there.xml": b""}))
    with packages.opened(path, options(), "a test") as archive:
        found = packages.relationships(archive, "in/part.xml")
    assert [(one.id, one.kind, one.target) for one in found] == [
        ("a", "one", "there.xml"),
        ("b", "two", "there.xml"),
        ("f", "three", "there.xml"),
    ]
