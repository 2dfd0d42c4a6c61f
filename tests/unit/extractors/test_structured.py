"""JSON, XML and source code as text."""

from __future__ import annotations

import json as standard_json
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, code, doc, json, xml


def pages(kind: ModuleType, tmp_path: Path, content: str | bytes) -> list[Page]:
    (tmp_path / "a").write_bytes(content.encode() if isinstance(content, str) else content)
    return list(kind.extract(tmp_path / "a", Options("a.json", 0, 1, 1 << 30)))


def text(kind: ModuleType, tmp_path: Path, content: str | bytes) -> str:
    return "".join(page.text for page in pages(kind, tmp_path, content))


def test_json_is_a_row_for_each_object_that_says_where_it_stands(tmp_path: Path) -> None:
    content = standard_json.dumps(
        {
            "name": "Ada",
            "tags": ["water", "fire"],
            "none": None,
            "home": {"city": "开封", "place": {"lat": 34.8}},
            "orders": [{"id": 1, "items": [{"sku": "A", "qty": 2}, {"sku": "B", "paid": True}]}, {"id": 2}],
            "about": "One paragraph.\n\nAnother.",
        }
    )
    assert text(json, tmp_path, content) == (
        "name: Ada\ntags: water, fire\nhome: city: 开封\nhome › place: lat: 34.8\norders: id: 1\n"
        "orders › items: sku: A; qty: 2\norders › items: sku: B; paid: true\norders: id: 2\n\n"
        "about: One paragraph.\n\nAnother."
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_json_is_read_in_whatever_encoding(tmp_path: Path, encoding: str) -> None:
    content = '{"城市": "开封的水桶和救火的人们在这里"}'.encode(encoding)
    assert text(json, tmp_path, content) == "城市: 开封的水桶和救火的人们在这里"


def test_a_broken_line_of_json_lines_is_a_text_and_the_others_are_rows(tmp_path: Path) -> None:
    assert text(json, tmp_path, '{"a": 1}\nnot JSON\n{"a": [2, 3]}\n') == "a: 1\n\nnot JSON\n\na: 2, 3"


def test_what_is_only_named_json_is_a_text(tmp_path: Path) -> None:
    (page,) = pages(json, tmp_path, '// settings\n{"a": 1,}\n')
    assert (page.text, page.blocks[0].kind) == ('// settings\n{"a": 1,}', "verbatim")


def test_json_that_nests_without_end_ends(tmp_path: Path) -> None:
    assert text(json, tmp_path, "[" * 100_000 + "1" + "]" * 100_000)
    deep = '{"a":' * 5_000 + '"bottom"' + "}" * 5_000
    assert "bottom" in text(json, tmp_path, deep)


def test_large_json_is_read_in_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "_TRIED_BYTES", 0)
    (tmp_path / "a").write_text("[" + ",".join(['{"a": "some words ' + "x" * 180 + '", "b": 1}'] * 30_000) + "]")
    tracemalloc.start()
    count = sum(page.text.count("some words") for page in json.extract(tmp_path / "a", Options("a", 0, 1, 1 << 30)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000
    assert peak < 4 << 20, "the file has 6.4 MB"


def test_large_json_that_is_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "_TRIED_BYTES", 0)
    with pytest.raises(Rejected) as caught:
        text(json, tmp_path, '{"a": 1, "b": [')
    assert caught.value.code == "FILE_DAMAGED"


def test_xml_is_rows_of_what_holds_words_and_paragraphs_of_what_is_mixed(tmp_path: Path) -> None:
    content = (
        '<?xml version="1.0"?><n:books xmlns:n="urn:x"><book id="1"><title>Fire</title><by>Ada</by></book>'
        "<book id='2'><title>水</title><p>Water <b>hurts</b> fire.</p></book></n:books>"
    )
    assert text(xml, tmp_path, content) == (
        "book: id: 1; title: Fire; by: Ada\nbook: id: 2; title: 水; p: Water hurts fire."
    )


def test_xml_fetches_nothing_and_unfolds_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret words")
    outside = f'<!DOCTYPE a [<!ENTITY s SYSTEM "file://{tmp_path}/secret">]><a><b>x &s; y</b></a>'
    assert "secret" not in text(xml, tmp_path, outside)
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><a><b>&l11;</b></a>'
    with pytest.raises(Rejected, match=r"amplification|loop"):
        text(xml, tmp_path, bomb)


@pytest.mark.parametrize("content", ["<a><b>x</b>", "<a>" * 100_000, "<a>\x01</a>", "<a/><b/>"])
def test_xml_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(Rejected) as caught:
        text(xml, tmp_path, content)
    assert caught.value.code == "FILE_DAMAGED"


def test_source_code_is_verbatim_and_comes_apart_where_something_begins(tmp_path: Path) -> None:
    one = "def one():\n    # " + "words " * 50 + "\n\n    return {\n        1: 2,\n    }\n"
    two = "class Two:\n\tpass\n"
    (page,) = pages(code, tmp_path, f"\n\n{one}\n\n{two}")
    parts = [page.text[block.start : block.end] for block in page.blocks]
    assert {block.kind for block in page.blocks} == {"verbatim"}
    assert [part.split("\n")[0] for part in parts] == ["def one():", "class Two:"]
    assert parts[0] == "\n".join(line.rstrip() for line in one.rstrip().split("\n"))


@pytest.mark.parametrize("content", ["x" * 100_000, "x = 1\n" * 20_000, "\n" * 50_000 + "x", "    x\n\n" * 20_000])
def test_source_code_without_a_place_to_part_it_comes_apart_all_the_same(tmp_path: Path, content: str) -> None:
    found = pages(code, tmp_path, content)
    assert max(block.end - block.start for page in found for block in page.blocks) <= 6_100
    told = "".join(page.text for page in found)
    assert "".join(told.split()) == "".join(content.split())


def test_what_a_converter_prints_is_paragraphs_and_tables(tmp_path: Path) -> None:
    (page,) = pages(doc, tmp_path, "First.\n\nName\tAge\nAda\t36\nLast.\n")
    assert page.text == "First.\n\nName: Ada; Age: 36\n\nLast."
