"""XLSX, XLS and ODS: sheets and their rows."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlwt
from openpyxl.worksheet.table import Table

from common.errors import Rejected
from functions.extractors import number_formats, odf, packages, xls, xlsx
from functions.pieces import Piece
from tests.unit import documents
from tests.unit.extractors.reading import options, pages, pieces

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def workbook(rows: str, members: Mapping[str, bytes] | None = None) -> bytes:
    """A workbook whose one sheet has this XML for rows."""
    archive = zipfile.ZipFile(io.BytesIO(saved(openpyxl.Workbook())))
    parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'.encode()
    return documents.archive({**parts, "xl/worksheets/sheet1.xml": sheet, **(members or {})})


def texts(content: bytes, tmp_path: Path) -> list[str]:
    """The rows of the one sheet, whose name comes first."""
    heading, *rows = pieces(xlsx, content, tmp_path)
    assert heading == Piece("Sheet", "heading", 1)
    assert {row.kind for row in rows} <= {"row"}
    return [row.text for row in rows]


def test_each_sheet_is_a_page_and_each_row_has_its_headers(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "人员"
    for row in (
        ["Staff", None, None, None],
        ["Name", "Born", "Share", "Sum"],
        ["李明 😀", datetime.date(2024, 1, 31), 0.125, 1.1 + 2.2],
        ["Ann\u200b", datetime.datetime(2024, 1, 31, 13, 45), None, True],  # noqa: DTZ001
        [None, datetime.timedelta(hours=26, minutes=30), 1, "=1+1"],
    ):
        book.active.append(row)
    book.active["C3"].number_format = "0.0%"
    book.create_sheet("Empty")
    book.create_sheet("مرحبا").append(["only"])
    assert pages(xlsx, saved(book), tmp_path) == {
        1: [
            Piece("人员", "heading", 1),
            Piece("Staff", "row"),
            Piece("Name: 李明 😀; Born: 2024-01-31; Share: 12.5%; Sum: 3.3", "row"),
            Piece("Name: Ann\u200b; Born: 2024-01-31 13:45; Sum: TRUE", "row"),
            Piece("Born: 26:30; Share: 1", "row"),
        ],
        2: [Piece("Empty", "heading", 1)],
        3: [Piece("مرحبا", "heading", 1), Piece("only", "row")],
    }


def test_a_table_says_itself_where_its_headers_are(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["x", "1"], [], ["2023", "2024"], ["1", "2"]):
        book.active.append(row)
    book.active.add_table(Table(displayName="T", ref="A3:B4"))
    assert texts(saved(book), tmp_path) == ["x\t1", "2023: 1; 2024: 2"]


def test_merged_cells_are_told_once(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["Name", "Town"], ["Ann", "Paris"], ["Bob", "Rome"]):
        book.active.append(row)
    book.active.merge_cells("B2:B3")
    assert texts(saved(book), tmp_path) == ["Name: Ann; Town: Paris", "Name: Bob"]


def test_strings_of_all_kinds_are_read(tmp_path: Path) -> None:
    shared = f'<sst xmlns="{_MAIN}"><si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>no</t></rPh></si></sst>'.encode()
    types = b'<R><Relationship Id="s" Type="x/sharedStrings" Target="s.xml"/>'
    types += b'<Relationship Id="rId1" Type="x/worksheet" Target="worksheets/sheet1.xml"/></R>'
    cells = '<c t="s"><v>0</v></c><c t="s"><v>7</v></c><c t="inlineStr"><is><t>in</t></is></c><c t="str"><v>f</v></c>'
    cells += '<c t="e"><v>#N/A</v></c><c t="d"><v>2024-01-31</v></c><c><v>nan?</v></c>'
    content = workbook(f"<row>{cells}</row>", {"xl/s.xml": shared, "xl/_rels/workbook.xml.rels": types})
    assert texts(content, tmp_path) == ["rich\tin\tf\t#N/A\t2024-01-31\tnan?"]


def test_a_million_empty_rows_that_are_formatted_cost_next_to_nothing(tmp_path: Path) -> None:
    empty = '<row r="9" s="1"><c r="A9" s="1"/><c r="B9" s="1"/></row>' * 1_048_575
    parsed: list[str] = []
    content = workbook(empty + '<row r="1048576"><c r="A1048576"><v>7</v></c><c r="XFD1048576"><v>8</v></c></row>')
    original = packages.forget

    def forget(element: Any) -> None:
        parsed.append(element.tag)
        original(element)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "forget", forget)
        assert texts(content, tmp_path) == ["7\t8"]
    assert len(parsed) < 2000


def test_cells_far_to_the_right_cost_what_they_hold(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{at}"><c r="XFD{at}"><v>{at}</v></c></row>' for at in range(1, 5001))
    assert texts(workbook(rows), tmp_path) == [str(at) for at in range(1, 5001)]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("General", "number"),
        ("#,##0.00 [$€-407]", "number"),
        ('0.00 "days"', "number"),
        ("0.00E+00", "number"),
        ("[Red]0", "number"),
        ("0.0%", "share"),
        ("yyyy-mm-dd", "date"),
        ('yyyy"年"m"月"d"日"', "date"),
        ("[$-409]h:mm AM/PM;@", "date"),
        ("[h]:mm", "duration"),
    ],
)
def test_a_format_tells_what_a_number_means(code: str, meaning: str) -> None:
    assert number_formats.meaning(code) == meaning


@pytest.mark.parametrize(
    ("value", "from_1904", "shown"),
    [
        ("45322", False, "2024-01-31"),
        ("45322.5", False, "2024-01-31 12:00"),
        ("0.25", False, "06:00"),
        ("1", False, "1900-01-01"),
        ("61", False, "1900-03-01"),
        ("43860", True, "2024-01-31"),
        ("99999999", False, "99999999"),
        ("-1", False, "-1"),
        ("inf", False, "inf"),
    ],
)
def test_days_are_counted_as_excel_counts_them(value: str, from_1904: bool, shown: str) -> None:
    formats = number_formats.Formats(from_1904)
    formats.read(io.BytesIO(f'<s xmlns="{_MAIN}"><cellXfs><xf numFmtId="14"/></cellXfs></s>'.encode()))
    assert formats.shown(value, "0") == shown


def test_workbooks_from_before_2007_are_read_too(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Blätter")
    iso = xlwt.easyxf(num_format_str="YYYY-MM-DD")
    people: list[list[Any]] = [["Name", "Born", "Sum"], ["李明", datetime.date(2024, 1, 31), 1.1 + 2.2], ["Ann", "", 7]]
    for at, row in enumerate(people):
        for column, value in enumerate(row):
            sheet.write(at, column, value, iso if isinstance(value, datetime.date) else xlwt.Style.default_style)
    book.add_sheet("Empty")
    out = io.BytesIO()
    book.save(out)
    assert pages(xls, out.getvalue(), tmp_path) == {
        1: [
            Piece("Blätter", "heading", 1),
            Piece("Name: 李明; Born: 2024-01-31; Sum: 3.3", "row"),
            Piece("Name: Ann; Sum: 7", "row"),
        ],
        2: [Piece("Empty", "heading", 1)],
    }
    with pytest.raises(Rejected) as caught:
        pieces(xls, out.getvalue()[:1500], tmp_path)
    assert caught.value.code == "FILE_DAMAGED"


def test_ods_keeps_headers_and_skips_what_is_repeated(tmp_path: Path) -> None:
    def row(*cells: str, repeated: int = 1) -> str:
        return f'<table:table-row table:number-rows-repeated="{repeated}">{"".join(cells)}</table:table-row>'

    def cell(text: str, attributes: str = "") -> str:
        return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"

    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    date = cell("31.01.24", 'office:value-type="date" office:date-value="2024-01-31T13:45:00"')
    sheet = row(cell("Name"), cell("Age"), cell("Born"), empty) + row(cell("Ann"), cell("42"), date)
    covered = '<table:covered-table-cell table:number-columns-repeated="2"/>'
    sheet += row(cell("Bob"), cell("x", 'table:number-columns-spanned="3"'), covered, cell("far"))
    sheet += row('<table:table-cell table:number-columns-repeated="2"/>', cell("later"))
    sheet += row(empty, repeated=1_048_000)
    body = f'<office:spreadsheet><table:table table:name="One">{sheet}</table:table><table:table table:name="Two"/>'
    assert pages(odf, documents.opendocument("spreadsheet", body + "</office:spreadsheet>"), tmp_path) == {
        1: [
            Piece("One", "heading", 1),
            Piece("Name: Ann; Age: 42; Born: 2024-01-31 13:45:00", "row"),
            Piece("Name: Bob; Age: x; far", "row"),
            Piece("Born: later", "row"),
        ],
        2: [Piece("Two", "heading", 1)],
    }


def test_more_sheets_than_pages_are_allowed_are_refused_before_the_first_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("Two")
    with pytest.raises(Rejected) as caught:
        pages(xlsx, saved(book), tmp_path, options(max_pages=1))
    assert caught.value.code == "TOO_MANY_PAGES"
