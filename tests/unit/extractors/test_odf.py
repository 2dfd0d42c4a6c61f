from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Rejected
from functions.extractors import odf
from functions.pieces import Piece
from tests.unit import documents
from tests.unit.extractors.reading import pages, pieces

_STYLES = """<style:style style:name="P1" style:parent-style-name="Title"/>
<style:style style:name="P2" style:parent-style-name="Preformatted_20_Text"/>
<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"/>
<text:list-level-style-bullet text:level="2"/></text:list-style>"""


def odt(body: str) -> bytes:
    return documents.opendocument("text", f"<office:text>{body}</office:text>", _STYLES)


def test_odt_gives_headings_lists_code_notes_and_paragraphs(tmp_path: Path) -> None:
    body = """<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
    <text:p text:style-name="P1">Title</text:p><text:h text:outline-level="2">He<text:span>ad</text:span></text:h>
    <text:p>One  <text:span>two</text:span>
      three<text:note><text:note-body><text:p>A note</text:p></text:note-body></text:note> fo<!-- c -->ur
      <text:s text:c="2"/><text:line-break/>five<office:annotation><text:p>comment</text:p></office:annotation></text:p>
    <text:list text:style-name="L1"><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>in</text:p>
    <text:p>more</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>b</text:p></text:list-item>
    </text:list><text:p text:style-name="P2">x<text:s text:c="3"/>= 1</text:p><text:p text:style-name="P2">y</text:p>"""
    assert pieces(odf, odt(body), tmp_path) == [
        Piece("Title", "heading", 1),
        Piece("Head", "heading", 2),
        Piece("A note"),
        Piece("One two three four\nfive"),
        Piece("1. a", "item"),
        Piece("- in", "item"),
        Piece("more"),
        Piece("2. b", "item"),
        Piece("x   = 1\ny", "verbatim"),
    ]


def test_odt_tables_keep_their_headers_and_hold_nested_ones_in_a_cell(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        inside = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
        return f"<table:table-row>{inside}</table:table-row>"

    inner = f"</text:p><table:table>{row('a', 'b')}</table:table><text:p>"
    header = f"<table:table-header-rows>{row('2023', 'Sum')}</table:table-header-rows>"
    body = f"<table:table>{header}{row(inner, '7')}</table:table><text:p>After</text:p>"
    assert pieces(odf, odt(body), tmp_path) == [Piece("2023: a b; Sum: 7", "row"), Piece("After")]


def test_odp_gives_a_page_for_each_slide(tmp_path: Path) -> None:
    def frame(text: str, kind: str) -> str:
        box = f"<draw:text-box><text:p>{text}</text:p></draw:text-box>"
        return f'<draw:frame presentation:class="{kind}">{box}</draw:frame>'

    notes = f"<presentation:notes>{frame('said', 'notes')}</presentation:notes>"
    slides = f"<draw:page>{frame('One', 'title')}{frame('text', 'outline')}{notes}</draw:page>"
    slides += f"<draw:page>{frame('Two', 'title')}</draw:page>"
    content = documents.opendocument("presentation", f"<office:presentation>{slides}</office:presentation>")
    assert pages(odf, content, tmp_path) == {
        1: [Piece("One", "heading", 1), Piece("text"), Piece("said")],
        2: [Piece("Two", "heading", 1)],
    }


def test_a_locked_document_is_named_as_such(tmp_path: Path) -> None:
    manifest = b"<manifest><file-entry><encryption-data/></file-entry></manifest>"
    content = documents.opendocument("text", "", members={"META-INF/manifest.xml": manifest})
    with pytest.raises(Rejected) as caught:
        pieces(odf, content, tmp_path)
    assert caught.value.code == "PASSWORD_PROTECTED"
