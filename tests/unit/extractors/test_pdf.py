"""PDF's structure and places, by plain calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest

from common.records import Page
from common.settings import Settings
from functions.extractors import Options, pdf
from functions.ingest.extract import budgets
from functions.pieces import Piece, pieces_of
from tests.unit import documents

PROSE = "The people of a bucket brigade stand in a line, and each of them hands on what the one before has handed on. "
CHINESE = "从水源到火场，人们站成一排，把水桶一个接一个地传下去，谁也不必走动，这样做比各自奔跑要快得多。"


class Document:
    """A PDF that is made here, and what the extractor says of it."""

    def __init__(self, path: Path) -> None:
        self.made = pymupdf.open()
        self._path = path
        self.options = Options(name="made.pdf", **budgets(Settings()))

    def page(self, width: float = 595, height: float = 842) -> pymupdf.Page:
        return self.made.new_page(width=width, height=height)

    def read(self) -> list[Page]:
        self._path.write_bytes(self.made.tobytes())
        return list(pdf.extract(self._path, self.options))

    def pieces(self) -> list[Piece]:
        return [piece for page in self.read() for piece in pieces_of(page)]

    def told(self) -> list[tuple[str, int, str]]:
        """Kind, level, and the text with spaces for its line ends."""
        return [(one.kind, one.level, " ".join(one.text.split())) for one in self.pieces()]


@pytest.fixture
def document(tmp_path: Path) -> Document:
    return Document(tmp_path / "made.pdf")


def write(page: pymupdf.Page, left: float, top: float, *lines: str, size: float = 10, font: str = "helv") -> float:
    """The lines from there down; where the next would stand."""
    for line in lines:
        page.insert_text((left, top + size), line, fontsize=size, fontname=font)
        top += 1.2 * size
    return top


def paragraph(words: str, width: float, size: float = 10) -> list[str]:
    lines = [""]
    for word in words.split():
        if pymupdf.get_text_length(f"{lines[-1]} {word}", fontsize=size) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_place_of_each_line_covers_its_words_on_the_page_as_it_is_seen(document: Document, rotation: int) -> None:
    page = document.page()
    write(page, 150, 200, *paragraph(PROSE * 3, 250))
    page.insert_text((150, 400), CHINESE[:20], fontname="china-s", fontsize=12)
    page.insert_text((20, 20), "outside")
    page.set_cropbox(pymupdf.Rect(100, 120, 500, 700))
    page.set_rotation(rotation)
    (read,) = document.read()
    assert "outside" not in read.text
    scale = 3
    drawn = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), colorspace=pymupdf.csGRAY)
    ink = np.frombuffer(drawn.samples, np.uint8).reshape(drawn.height, drawn.stride)[:, : drawn.width] < 128
    assert len(read.lines) >= 6
    covered = np.zeros_like(ink)
    for _, (left, top, right, bottom) in read.lines:
        within = np.s_[int(top * scale) : int(bottom * scale) + 1, int(left * scale) : int(right * scale) + 1]
        assert ink[within].any()
        covered[within] = True
    assert not (ink & ~covered).any()
    # Nor do they cover much else.
    assert covered.mean() < 0.2


def test_each_line_is_where_its_words_are_found(document: Document) -> None:
    page = document.page()
    write(page, 72, 200, "First line of it", "second line of it")
    (read,) = document.read()
    for line, text in zip(read.lines, read.text.split("\n"), strict=True):
        assert read.text[line.start :].startswith(text)
        (found,) = page.search_for(text)
        assert found in pymupdf.Rect(line.box) + pymupdf.Rect(-1, -1, 1, 1)


def test_the_outline_says_what_is_a_heading_and_of_which_level(document: Document) -> None:
    for number in (1, 2, 3):
        page = document.page()
        write(page, 72, 100, f"Chapter {number}", f"Handing on {number}", size=18, font="hebo")
        write(page, 72, 160, f"{number}.1 How", size=10)
        write(page, 72, 200, *paragraph(PROSE * 4, 400))
        write(page, 72, 400, "As large, but no title", size=18, font="hebo")
        write(page, 72, 500, "Only bold", font="hebo")
        write(page, 72, 600, *paragraph(PROSE * 4, 400))
    document.made.set_toc(
        [entry for number in (1, 2, 3) for entry in ([1, f"Handing on {number}", number], [2, "How", number])]
    )
    headings = [piece[1:] for piece in document.told() if piece[0] == "heading"]
    assert headings[:3] == [(1, "Chapter 1 Handing on 1"), (2, "1.1 How"), (1, "As large, but no title")]
    assert len(headings) == 9
    assert document.options.details["headings"] == 9


def test_without_an_outline_headings_are_what_is_larger_numbered_or_bold_by_itself(document: Document) -> None:
    page = document.page()
    write(page, 72, 80, "The whole", size=24)
    write(page, 72, 130, "A part", size=16)
    write(page, 72, 170, *paragraph(PROSE * 4, 400))
    write(page, 72, 300, "2.3.1 A numbered part", size=16)
    write(page, 72, 340, *paragraph(PROSE * 4, 400))
    write(page, 72, 500, "In bold", font="hebo")
    write(page, 72, 520, *paragraph(PROSE * 4, 400))
    write(page, 72, 650, "Bold, but a sentence.", font="hebo")
    headings = [piece[1:] for piece in document.told() if piece[0] == "heading"]
    assert headings == [(1, "The whole"), (2, "A part"), (3, "2.3.1 A numbered part"), (3, "In bold")]


@pytest.mark.parametrize("columns", [2, 3])
def test_columns_are_read_one_after_the_other_whatever_order_they_were_set_in(document: Document, columns: int) -> None:
    page = document.page()
    width = 480 / columns
    parts = [(row, column) for row in range(3) for column in range(columns)]
    for row, column in parts[::-1]:
        top = 120 + 200 * row + 15 * column
        write(page, 60 + column * width, top, *paragraph(f"Part {column}{row}. " + PROSE * 2, width - 20))
    write(page, 60, 760, *paragraph("1 A footnote, which goes across all of the columns as the title does above.", 480))
    write(page, 60, 80, "A title that goes across all of the columns", size=20)
    found = [text[:7] for _, _, text in document.told()]
    assert found == ["A title", *(f"Part {column}{row}" for column in range(columns) for row in range(3)), "1 A foo"]


def test_an_order_that_the_page_does_not_contradict_is_kept(document: Document) -> None:
    page = document.page()
    write(page, 60, 100, *paragraph("One. " + PROSE, 200))
    write(page, 320, 100, *paragraph("Two. " + PROSE, 200))
    write(page, 60, 300, *paragraph("Three. " + PROSE, 200))
    write(page, 320, 300, *paragraph("Four. " + PROSE, 200))
    assert [text.split(".")[0] for _, _, text in document.told()] == ["One", "Two", "Three", "Four"]


def test_a_table_that_is_ruled_is_rows_with_their_headers(document: Document) -> None:
    page = document.page()
    write(page, 72, 80, *paragraph(PROSE, 400))
    rows = [("Name", "Size", "What it holds"), ("pail", "9 l", "water, or sand"), ("tub", "", "more of it")]
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            box = pymupdf.Rect(72 + 120 * column, 200 + 30 * row, 192 + 120 * column, 230 + 30 * row)
            page.draw_rect(box, width=0.5)
            write(page, box.x0 + 4, box.y0 + 3, *cell.replace(", ", ",\n").split("\n"))
    write(page, 72, 320, *paragraph(PROSE, 400))
    told = document.told()
    assert told[1:-1] == [
        ("row", 0, "Name: pail; Size: 9 l; What it holds: water, or sand"),
        ("row", 0, "Name: tub; What it holds: more of it"),
    ]
    pail = next(piece for piece in document.pieces() if piece.kind == "row")
    left, top, right, bottom = pail.lines[0].box
    assert 72 <= left < 80
    assert 230 <= top < right
    assert 312 < right < 432
    assert bottom < 260


def test_items_and_code_stay_what_they_are(document: Document) -> None:
    page = document.page()
    top = write(page, 72, 80, *paragraph(PROSE, 400))
    top = write(page, 72, top + 8, "- one item", "- another that goes", "  on", "3. a third")
    top = write(page, 72, top + 8, "def hand_on(pail):", font="cour")
    top = write(page, 96, top, "return pail", font="cour")
    write(page, 72, top + 20, *paragraph(PROSE, 400))
    assert [(piece.kind, piece.text) for piece in document.pieces()][1:-1] == [
        ("item", "- one item"),
        ("item", "- another that goes\non"),
        ("item", "3. a third"),
        ("verbatim", "def hand_on(pail):\n    return pail"),
    ]


def test_lines_set_wide_apart_are_one_paragraph(document: Document) -> None:
    page = document.page()
    lines = paragraph(PROSE * 3, 400)
    for number, line in enumerate(lines):
        write(page, 72, 100 + 19 * number, line)
    write(page, 72, 100 + 19 * len(lines) + 30, *paragraph(PROSE * 2, 400))
    first, _ = document.pieces()
    assert first.text.split("\n") == lines
    assert len(first.lines) == len(lines)


def picture(page: pymupdf.Page, box: tuple[float, float, float, float]) -> None:
    pixels = pymupdf.Pixmap(pymupdf.csGRAY, pymupdf.IRect(0, 0, 20, 20))
    pixels.clear_with(200)
    page.insert_image(pymupdf.Rect(box), pixmap=pixels, keep_proportion=False)


def a_scan(page: pymupdf.Page) -> None:
    picture(page, (0, 0, 595, 842))


def a_scan_with_a_stamp(page: pymupdf.Page) -> None:
    picture(page, (0, 0, 595, 842))
    write(page, 500, 800, "page 7")


def garbled(page: pymupdf.Page) -> None:
    write(page, 72, 72, *["".join(chr(ord(one) - 29) for one in PROSE if one.isalpha())] * 6)


def letters_as_shapes(page: pymupdf.Page) -> None:
    for number in range(100):
        page.draw_circle((50 + 5 * number, 100), 2)


def blank(page: pymupdf.Page) -> None:
    pass


def a_page_with_a_logo(page: pymupdf.Page) -> None:
    picture(page, (20, 20, 60, 60))
    write(page, 72, 72, "Short")


def text_over_a_background(page: pymupdf.Page) -> None:
    picture(page, (0, 0, 595, 842))
    write(page, 72, 72, *paragraph(PROSE * 3, 400))


@pytest.mark.parametrize("make", [a_scan, a_scan_with_a_stamp, garbled, letters_as_shapes])
def test_a_page_whose_text_can_only_be_seen_is_left_to_ocr(document: Document, make: Callable[..., None]) -> None:
    write(document.page(), 72, 72, *paragraph(PROSE, 400))
    make(document.page())
    document.read()
    assert document.options.scans == [2]
    assert document.options.details.get("garbled_pages") == (1 if make is garbled else None)


@pytest.mark.parametrize("make", [blank, a_page_with_a_logo, text_over_a_background])
def test_a_page_without_such_text_is_not(document: Document, make: Callable[..., None]) -> None:
    make(document.page())
    document.read()
    assert document.options.scans == []


def test_an_outline_that_leads_nowhere_is_none(document: Document) -> None:
    write(document.page(), 72, 72, "Text")
    document.made.set_toc([[1, "Text", 1]])
    document.made.xref_set_key(document.made.pdf_catalog(), "Outlines", "<</First 1000 0 R/Last 1000 0 R/Count 9>>")
    assert document.told() == [("paragraph", 0, "Text")]


def test_a_page_of_nothing_but_lines_costs_no_more_than_it_must(tmp_path: Path) -> None:
    lines = b"".join(b"%d 10 m %d 700 l S\n" % (number % 600, number % 599) for number in range(20_000))
    path = tmp_path / "lines.pdf"
    path.write_bytes(documents.one_page_pdf(lines + b"BT /T 12 Tf 72 720 Td (A map) Tj ET"))
    options = Options(name="lines.pdf", **budgets(Settings()))
    (page,) = pdf.extract(path, options)
    assert page.text == "A map"
