from __future__ import annotations

import io
from pathlib import Path

import docx as python_docx
import pytest

from common.errors import Rejected
from functions.extractors import docx
from functions.pieces import Piece
from tests.unit import documents
from tests.unit.extractors.reading import options, pieces, read

_STYLES = """<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">
<w:style w:styleId="berschrift2"><w:name w:val="heading 2"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:styleId="Mine"><w:name w:val="My own"/><w:basedOn w:val="berschrift2"/></w:style>
<w:style w:styleId="Deeper"><w:name w:val="Deeper"/><w:basedOn w:val="Mine"/></w:style>
<w:style w:styleId="a3"><w:name w:val="Title"/></w:style>
<w:style w:styleId="HTML"><w:name w:val="HTML Preformatted"/></w:style></w:styles>"""
_LISTS = """<w:numbering xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">
<w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:start w:val="3"/><w:numFmt w:val="lowerRoman"/>
<w:lvlText w:val="%1)"/></w:lvl><w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/>
<w:lvlText w:val="%1.%2"/></w:lvl></w:abstractNum>
<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>
</w:numbering>"""


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space='preserve'>{text}</w:t></w:r></w:p>"


def styled(text: str, style: str) -> str:
    return paragraph(text, f"<w:pStyle w:val='{style}'/>")


def listed(text: str, number: int, level: int = 0) -> str:
    return paragraph(text, f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{number}'/></w:numPr>")


def test_docx_gives_paragraphs_tables_and_notes_and_nothing_twice(tmp_path: Path) -> None:
    body = (
        "<w:p><w:pPr><w:pStyle w:val='Heading1'/><w:pPrChange><w:pStyle w:val='x'/></w:pPrChange></w:pPr>"
        "<w:r><w:t>标题</w:t></w:r></w:p>"
        "<w:p><w:r><w:t>One</w:t><w:tab/><w:t>two</w:t><w:br/><w:br/><w:t>three</w:t><w:delText>gone</w:delText></w:r>"
        "<w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom></w:p><w:p/>"
        + documents.table([["Name", "Age"], ["Ann &amp; Bob", "42"]])
        + "<w:p><w:r><mc:AlternateContent xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'>"
        "<mc:Choice><w:txbxContent><w:p><w:r><w:t>Boxed</w:t></w:r></w:p></w:txbxContent></mc:Choice>"
        "<mc:Fallback><w:txbxContent><w:p><w:r><w:t>Boxed</w:t></w:r></w:p></w:txbxContent></mc:Fallback>"
        "</mc:AlternateContent><w:t>After</w:t></w:r></w:p>"
    )
    assert pieces(docx, documents.docx(body=body, note="A note"), tmp_path) == [
        Piece("标题", "heading", 1),
        Piece("One\ttwo\nthree"),
        Piece("Name: Ann & Bob; Age: 42", "row"),
        Piece("Boxed"),
        Piece("After"),
        Piece("A note"),
    ]


def test_headings_are_known_by_outline_level_by_style_and_by_what_the_style_is_based_on(tmp_path: Path) -> None:
    body = (
        styled("One", "berschrift2")
        + styled("Two", "Mine")
        + styled("Deeper", "Deeper")
        + paragraph("Three", "<w:outlineLvl w:val='2'/>")
        + paragraph("Body", "<w:pStyle w:val='Mine'/><w:outlineLvl w:val='9'/>")
        + styled("Title", "a3")
        + styled("四", "标题 4")
        + paragraph("Deep", "<w:outlineLvl w:val='8'/>")
        + styled("x = 1", "HTML")
        + styled("  y = 2", "HTML")
    )
    members = {"word/styles.xml": _STYLES.encode()}
    found = pieces(docx, documents.docx(body=body, members=members), tmp_path)
    assert found[-1] == Piece("x = 1\n  y = 2", "verbatim")
    assert [(piece.text, piece.level) for piece in found[:-1]] == [
        ("One", 2),
        ("Two", 2),
        ("Deeper", 2),
        ("Three", 3),
        ("Body", 0),
        ("Title", 1),
        ("四", 4),
        ("Deep", 6),
    ]


def test_lists_count_as_word_does(tmp_path: Path) -> None:
    body = listed("a", 1) + listed("b", 1, 1) + listed("c", 1, 1) + listed("d", 1) + listed("e", 1, 1)
    body += listed("f", 2) + listed("g", 0) + listed("h", 99)
    members = {"word/numbering.xml": _LISTS.encode()}
    found = pieces(docx, documents.docx(body=body, members=members), tmp_path)
    assert [piece.text for piece in found] == ["iii) a", "iii.1 b", "iii.2 c", "iv) d", "iv.1 e", "- f", "g", "- h"]
    assert {piece.kind for piece in found} == {"item", "paragraph"}


def test_docx_keeps_its_columns_where_cells_are_merged(tmp_path: Path) -> None:
    def cell(text: str, span: int = 1) -> str:
        return f"<w:tc><w:tcPr><w:gridSpan w:val='{span}'/></w:tcPr>{paragraph(text)}</w:tc>"

    header = f"<w:tr><w:trPr><w:tblHeader/></w:trPr>{cell('1', 2)}{cell('Sum')}</w:tr>"
    rows = f"<w:tr>{cell('a')}{cell('b')}{cell('c')}</w:tr><w:tr>{cell('wide', 2)}{cell('d')}</w:tr>"
    found = pieces(docx, documents.docx(body=f"<w:tbl>{header}{rows}</w:tbl>"), tmp_path)
    assert [piece.text for piece in found] == ["1: a; 1: b; Sum: c", "1: wide; Sum: d"]


def test_docx_reads_a_nested_table_into_its_cell(tmp_path: Path) -> None:
    inner = documents.table([["a", "b"]])
    body = f"<w:tbl><w:tr><w:tc>{inner}<w:p/></w:tc><w:tc><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    assert read(docx, documents.docx(body=body), tmp_path) == "a b\tc"


def test_docx_as_another_program_writes_it(tmp_path: Path) -> None:
    document = python_docx.Document()
    document.add_heading("A title", 0)
    document.add_heading("Part", 2)
    document.add_paragraph("مرحبا 😀 \u200bx")
    document.add_paragraph("first", style="List Number")
    document.add_paragraph("dash", style="List Bullet")
    document.add_paragraph("second", style="List Number")
    out = io.BytesIO()
    document.save(out)
    assert pieces(docx, out.getvalue(), tmp_path) == [
        Piece("A title", "heading", 1),
        Piece("Part", "heading", 2),
        Piece("مرحبا 😀 \u200bx"),
        Piece("1. first", "item"),
        Piece("- dash", "item"),
        Piece("2. second", "item"),
    ]


def test_docx_finds_its_main_part_whatever_its_name(tmp_path: Path) -> None:
    content = documents.archive(
        {
            "_rels/.rels": b'<R><Relationship Id="1" Type="http://x/officeDocument" Target="/word/other.xml"/></R>',
            "word/other.xml": b'<w:document xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main">'
            b"<w:p><w:r><w:t>Strict</w:t></w:r></w:p></w:document>",
        }
    )
    assert read(docx, content, tmp_path) == "Strict"


def test_docx_expands_no_entities(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    xml = (
        f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY y "yyyy">]>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        "<w:p><w:r><w:t>Hello</w:t><w:t>&x;&y;</w:t></w:r></w:p></w:document>"
    )
    found = read(docx, documents.archive({"word/document.xml": xml.encode()}), tmp_path)
    assert found == "Hello"


@pytest.mark.parametrize("element", ["p", "tbl><w:tr><w:tc", "r><w:p"])
def test_docx_nested_deeper_than_anybody_writes_is_damaged_and_no_crash(element: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        pieces(docx, documents.docx(body=f"<w:{element}>" * 5000), tmp_path, options())
    assert caught.value.code == "FILE_DAMAGED"
