from __future__ import annotations

import encodings as python_encodings
import pkgutil
from pathlib import Path

import pytest

from functions.extractors import html
from functions.pieces import Piece
from tests.unit.extractors.reading import options, pieces, read


def test_html_gives_what_a_reader_reads(tmp_path: Path) -> None:
    page = """<!doctype html><html><head><title>The  title</title><style>p {}</style></head><body>
    <nav>Home | About</nav><h1>Head &amp; line</h1><p>One <b>bo</b>ld
    word.</p><div>Two<br>lines</div><script>alert("no")</script><pre>
def f():
    return 1

</pre><footer>Imprint</footer><p hidden>unseen</p><h3>Small<br>head</h3>中<b>文</b></body></html>"""
    given = options()
    assert pieces(html, page.encode(), tmp_path, given) == [
        Piece("The title", "heading", 1),
        Piece("Head & line", "heading", 1),
        Piece("One bold word."),
        Piece("Two\nlines"),
        Piece("def f():\n    return 1", "verbatim"),
        Piece("Small head", "heading", 3),
        Piece("中文"),
    ]
    assert given.details["title"] == "The title"


def test_a_page_that_begins_with_its_title_has_it_once(tmp_path: Path) -> None:
    page = b"<title>Title</title><h1>Title of it</h1>"
    assert pieces(html, page, tmp_path) == [Piece("Title of it", "heading", 1)]


def test_the_sign_that_links_to_a_heading_is_none_of_it(tmp_path: Path) -> None:
    page = '<h2>Usage<a class="headerlink" href="#usage" title="Link">\u00b6</a></h2><a href="#usage">\u00b6 7</a>'
    assert [piece.text for piece in pieces(html, page.encode(), tmp_path)] == ["Usage", "\u00b6 7"]


def test_list_items_have_their_marks(tmp_path: Path) -> None:
    page = b"<ul><li>a<li>b<ol start=4><li><p>c</p><p>more</p><li value=9>d<li>e</ol></ul><li>f<ol><li></ol>g"
    assert [(piece.text, piece.kind) for piece in pieces(html, page, tmp_path)] == [
        ("- a", "item"),
        ("- b", "item"),
        ("4. c", "item"),
        ("more", "paragraph"),
        ("9. d", "item"),
        ("10. e", "item"),
        ("- f", "item"),
        ("g", "paragraph"),
    ]


def test_html_tables_keep_their_headers_in_all_that_cells_span(tmp_path: Path) -> None:
    page = """<table><caption>Staff</caption><thead><tr><th rowspan=2>Name<th colspan=2>Age<tr><th>x<th>y</thead>
    <tr><td rowspan=2><p>Ann</p><td>4<b>2</b><td>a<p>b</p>c<tr><td>5</table>
    <table><tr><td>1<td>2</table><table><tr><td colspan=2>wide<td>3</table>"""
    assert pieces(html, page.encode(), tmp_path) == [
        Piece("Staff"),
        Piece("Name: Ann; Age x: 42; Age y: a b c", "row"),
        Piece("Name: Ann; Age x: 5", "row"),
        Piece("1\t2", "row"),
        Piece("wide\t3", "row"),
    ]


@pytest.mark.parametrize("cell", ["<table><tr><td>inner</table>", "<h2>inner</h2>", "inner" * 200])
def test_a_table_for_layout_is_no_table(cell: str, tmp_path: Path) -> None:
    found = pieces(html, f"<table><tr><td>{cell}<p>text<td>side</table>".encode(), tmp_path)
    assert found[0].text.startswith("inner")
    assert found[1:] == [Piece("text"), Piece("side")]


def test_cells_that_span_without_end_cost_no_more_than_their_rows(tmp_path: Path) -> None:
    page = "<table><tr>" + "<td rowspan=65534 colspan=1000>a" * 2000 + "<tr>" * 20_000
    assert len(read(html, page.encode(), tmp_path)) < 1_000_000


def test_xhtml_may_close_what_html_may_not(tmp_path: Path) -> None:
    page = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
    assert pieces(html, page + b'<script src="x"/></head><p>Text</p></html>', tmp_path) == [Piece("Text")]


def test_html_in_its_declared_encoding(tmp_path: Path) -> None:
    page = "<meta http-equiv=Content-Type content='text/html; charset=gb2312'><p>镕基，简体"
    assert read(html, page.encode("gb18030"), tmp_path) == "镕基，简体"


@pytest.mark.parametrize(
    "label",
    [
        *sorted(module.name for module in pkgutil.iter_modules(python_encodings.__path__)),
        *(
            "utf-16",
            "utf-32",
            "utf-16le",
            "rot13",
            "zlib",
            "hex",
            "no-such",
            "x-user-defined",
            "us-ascii",
            "iso-8859-1",
        ),
    ],
)
def test_no_declared_encoding_breaks_a_page(label: str, tmp_path: Path) -> None:
    page = f"<meta charset={label}><p>plain"
    assert read(html, page.encode(), tmp_path) == "plain"


@pytest.mark.parametrize("label", ["utf-16", "utf-32be", "idna", "undefined", "utf-7", "cp037", "us-ascii", "euc-jp"])
def test_a_page_that_is_not_in_the_encoding_it_declares_is_read_in_its_own(label: str, tmp_path: Path) -> None:
    page = f"<meta charset={label}><p>镕基，简体中文的页面"
    assert read(html, page.encode(), tmp_path) == "镕基，简体中文的页面"


def test_a_byte_order_mark_knows_better_than_a_declaration(tmp_path: Path) -> None:
    page = "<meta charset=windows-1251><p>中文"
    assert read(html, page.encode("utf-8-sig"), tmp_path) == "中文"


@pytest.mark.parametrize(
    ("label", "encoding", "sentence"),
    [
        ("GBK", "gb18030", "镕基"),
        ("Big5", "big5", "中文"),
        ("x-sjis", "cp932", "日本語①"),
        ("EUC-KR", "cp949", "한국어"),
        ("windows-1251", "cp1251", "Да"),
        ("x-cp1252", "cp1252", "“é”"),
        ("latin1", "cp1252", "“é”"),
        ("koi8-r", "koi8-r", "Да"),
        ("windows-874", "cp874", "ไทย"),
        ("macintosh", "mac-roman", "é"),
    ],
)
def test_pages_are_read_in_the_webs_encodings(label: str, encoding: str, sentence: str, tmp_path: Path) -> None:
    page = f"<meta charset='{label}'><p>{sentence}"
    assert read(html, page.encode(encoding), tmp_path) == sentence


def test_html_nested_deeper_than_pythons_stack(tmp_path: Path) -> None:
    assert read(html, b"<div>" * 10_000 + b"deep", tmp_path) == "deep"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [" ", "\t", " \t", "\n", " \n", "<", "</", "<title "])
def test_tidying_a_page_takes_no_more_time_than_its_length_explains(piece: str, tmp_path: Path) -> None:
    long = piece * (200_000 // len(piece))
    for around in ("<p>x{}x", "<pre>x{}x", "<table><tr><td>x{}x", "<html xmlns='http://www.w3.org/1999/xhtml'>x{}"):
        assert read(html, around.format(long).encode(), tmp_path).startswith("x")
