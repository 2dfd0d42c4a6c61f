"""Scans through EXTRACT_TEXT as a worker does it: what can only be seen is read by OCR, in the jail."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pymupdf
import pytest
from PIL import Image

from common.errors import Cancelled, Rejected, Retryable
from common.jail import Jail
from common.records import Page, Pin, Source
from common.settings import Settings
from functions.extractors import FORMATS, JPEG, PDF, TIFF, Format
from functions.ingest import scans
from functions.ingest.extract import budgets, extract
from functions.pieces import pieces_of
from tests.unit import documents
from tests.unit.stand_ins import MemoryObjects, context

ENGLISH = ["A bucket brigade hands on", "what it is handed."]
CHINESE = ["人们站成一排，", "把水桶传下去。"]


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


@pytest.fixture(scope="module")
def ocr_jail() -> Iterator[Jail]:
    """Its zygote takes seconds to load the models: once."""
    jail = Jail()
    yield jail
    jail.close()


class Reader:
    def __init__(self, work_dir: Path, jail: Jail, ocr_jail: Any) -> None:
        self._work_dir, self._jail, self.ocr_jail = work_dir, jail, ocr_jail
        self.details: dict[str, Any] = {}
        self.progress: list[float] = []
        self.on_check: Callable[[], None] = lambda: None

    def pages(self, kind: Format, content: bytes, **settings: Any) -> list[Page]:
        name = f"document{kind.suffixes[0]}"
        given = Settings(work_dir=self._work_dir, **settings)
        services = {"settings": given, "jail": self._jail, "ocr_jail": self.ocr_jail}
        ctx = context(name, objects=MemoryObjects(content), **services)
        self.details, ctx.on_progress, ctx.on_check = ctx.details, self.progress.append, self.on_check
        return list(extract(ctx, Source(Pin("b", "k", "e", 1), name, kind.media_type)))

    def refusal(self, kind: Format, content: bytes, **settings: Any) -> Rejected:
        with pytest.raises(Rejected) as caught:
            self.pages(kind, content, **settings)
        return caught.value


@pytest.fixture
def reader(tmp_path: Path, jail: Jail, ocr_jail: Jail) -> Reader:
    return Reader(tmp_path, jail, ocr_jail)


class StandIn:
    """A jail in which each page reads as the script says: by page, a text or an exception."""

    def __init__(self, **script: str | Exception) -> None:
        self._script = {int(name.removeprefix("page")): outcome for name, outcome in script.items()}

    def run(self, _: str, *, output: Path, options: Any, check: Callable[[], None], **__: Any) -> dict[str, Any]:
        check()
        outcome = self._script[options["page"]]
        if isinstance(outcome, Exception):
            raise outcome
        output.write_text(f'{{"number":{options["page"]},"text":"{outcome}"}}\n')
        return {"characters": len(outcome)}


def drawn(lines: list[str], *, dpi: int = 150) -> bytes:
    """The lines as a picture of 300 by 150 points, the first 40 from its top."""
    with pymupdf.open() as document:
        page = document.new_page(width=300, height=150)
        for number, line in enumerate(lines):
            font = "helv" if line.isascii() else "china-s"
            page.insert_text((30, 55 + 22 * number), line, fontsize=15, fontname=font)
        return bytes(page.get_pixmap(dpi=dpi).tobytes("png"))


def scanned(*pages: list[str] | str) -> bytes:
    """A PDF: lists of lines are pictures, texts are text."""
    with pymupdf.open() as document:
        for content in pages:
            page = document.new_page(width=300, height=150)
            if isinstance(content, str):
                page.insert_text((30, 55), content)
            else:
                page.insert_image(page.rect, stream=drawn(content))
        return bytes(document.tobytes())


def test_a_scanned_page_is_read_where_it_stands_among_others(reader: Reader) -> None:
    pages = reader.pages(PDF, scanned("Text before", CHINESE, "Text behind"))
    assert [page.number for page in pages] == [1, 2, 3]
    assert [pages[0].text, pages[2].text] == ["Text before", "Text behind"]
    assert pages[1].text == "\n".join(CHINESE)
    (piece,) = pieces_of(pages[1])
    for number, (_, (left, top, right, bottom)) in enumerate(piece.lines):
        base = 55 + 22 * number
        assert 25 < left < 34
        assert base - 20 < top < base - 8
        assert base - 3 < bottom < base + 10
        assert 110 < right < 150
    assert reader.details == {
        "media_type": "application/pdf",
        "pages": 3,
        "characters": sum(len(page.text) for page in pages),
        "ocr_pages": 1,
    }
    assert reader.progress == [1.0]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS.values() if kind.media_type.startswith("image/")])
def test_pictures_of_every_format_are_read_in_the_jail(reader: Reader, kind: Format) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(drawn(["Hello"]))).save(out, kind.code)
    assert [page.text for page in reader.pages(kind, out.getvalue())] == ["Hello"]


def test_what_ocr_reads_counts_for_how_long_a_text_may_be(reader: Reader) -> None:
    reader.ocr_jail = StandIn(page2="word " * 3, page3="word " * 3)
    refusal = reader.refusal(PDF, scanned("one", ["a"], ["b"]), max_characters=30)
    assert refusal.code == "TEXT_TOO_LONG"
    assert len(reader.pages(PDF, scanned("one", ["a"], ["b"]), max_characters=33)) == 3


def test_a_photograph_is_read_as_it_is_held(reader: Reader) -> None:
    image = Image.open(io.BytesIO(drawn(ENGLISH))).transpose(Image.Transpose.ROTATE_90)
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.convert("RGB").save(out, "JPEG", exif=exif, quality=90)
    (page,) = reader.pages(JPEG, out.getvalue())
    assert page.text == "\n".join(ENGLISH)
    # A pixel is a point.
    left, top, right, bottom = page.lines[0].box
    assert 55 < left < 70
    assert 75 < top < 100
    assert 110 < bottom < 135
    assert 400 < right < 480


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
def test_a_scan_that_lay_the_wrong_way_round_is_read(reader: Reader, turn: Image.Transpose) -> None:
    image = Image.open(io.BytesIO(drawn(ENGLISH))).transpose(turn)
    (page,) = reader.pages(JPEG, _jpeg(image))
    assert page.text == "\n".join(ENGLISH)
    ink = np.asarray(image.convert("L")) < 128
    for _, (left, top, right, bottom) in page.lines:
        within = np.s_[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
        assert ink[within].any()
        ink[within] = False
    assert not ink.any()


def test_what_children_are_forked_from_has_one_thread(reader: Reader) -> None:
    # NumPy, OpenCV and ONNX Runtime each start some unless they are told not to.
    reader.pages(PDF, scanned(CHINESE))
    zygote = reader.ocr_jail._zygote
    assert len(list(Path(f"/proc/{zygote.pid}/task").iterdir())) == 1


def test_a_picture_without_any_text_is_refused_in_a_sentence(reader: Reader) -> None:
    refusal = reader.refusal(JPEG, _jpeg(Image.effect_noise((200, 100), 20)))
    assert (refusal.code, refusal.message) == (
        "NO_TEXT",
        "document.jpg is a JPEG picture without text: OCR found none on its page.",
    )


def test_a_page_that_takes_too_long_is_missed_alone_and_named(reader: Reader) -> None:
    reader.ocr_jail = StandIn(page2="two", page3=Rejected("It took too long.", code="EXTRACT_TIMEOUT"), page4="four")
    pages = reader.pages(PDF, scanned("one", ["a"], ["b"], ["c"]))
    assert [page.text for page in pages] == ["one", "two", "", "four"]
    assert reader.details["ocr_pages"] == 2
    assert reader.details["unread_pages"] == "3"
    assert reader.details["unread_because"] == "It took too long."
    assert reader.details["characters"] == len("onetwofour")
    assert reader.progress == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("settings", "read"), [({"ocr_pages": 1}, 1), ({"ocr_seconds": 1e-9}, 0)])
def test_what_a_documents_budget_does_not_reach_to_is_named(
    reader: Reader, settings: dict[str, Any], read: int
) -> None:
    reader.ocr_jail = StandIn(page2="two")
    pages = reader.pages(PDF, scanned("one", *[["picture"]] * 4), **settings)
    assert [page.text for page in pages] == ["one", "two" if read else "", "", "", ""]
    assert reader.details["unread_pages"] == ("3–5" if read else "2–5")
    assert f"BRIGADE_{next(iter(settings)).upper()}" in reader.details["unread_because"]


def test_a_document_of_which_nothing_can_be_read_is_refused_for_its_first_page(reader: Reader) -> None:
    reader.ocr_jail = StandIn(**{f"page{number}": Rejected(f"Page {number}", code="CRASHED") for number in (1, 2)})
    refusal = reader.refusal(PDF, scanned(["one"], ["two"]))
    assert (refusal.message, refusal.code) == ("Page 1", "CRASHED")


@pytest.mark.parametrize("error", [Retryable("The machine is out of memory."), Cancelled()])
def test_what_is_no_fault_of_a_page_ends_the_run(reader: Reader, error: Exception) -> None:
    reader.ocr_jail = StandIn(page1="one", page2=error)
    with pytest.raises(type(error)):
        reader.pages(PDF, scanned(["one"], ["two"]))


def test_a_damaged_picture_is_refused_by_its_reader(reader: Reader) -> None:
    content = _jpeg(Image.effect_noise((200, 100), 20))
    assert reader.refusal(JPEG, content[: len(content) // 2]).code == "FILE_DAMAGED"


def test_without_ocr_a_scan_says_so_and_the_rest_is_read(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = reader.pages(PDF, scanned("one", ["two"]), ocr=False)
    assert [page.text for page in pages] == ["one", ""]
    assert reader.details["unread_pages"] == "2"
    assert "BRIGADE_OCR" in reader.details["unread_because"]
    refusal = reader.refusal(PDF, scanned(["one"]), ocr=False)
    assert refusal.code == "NO_TEXT"
    assert refusal.message == (
        "document.pdf is a PDF whose text, if it has any, can only be seen, and OCR is off (BRIGADE_OCR)."
    )
    monkeypatch.setattr(importlib.util, "find_spec", Mock(return_value=None))
    monkeypatch.setattr(scans, "find_spec", importlib.util.find_spec)
    assert "not installed (the package rapidocr)" in reader.refusal(PDF, scanned(["one"])).message


def test_a_page_of_a_tiff_that_is_too_large_is_missed_alone(reader: Reader) -> None:
    reader.ocr_jail = StandIn(page1="one", page2=Rejected("too large", code="IMAGE_TOO_LARGE"))
    out = io.BytesIO()
    image = Image.new("RGB", (20, 20))
    image.save(out, "TIFF", save_all=True, append_images=[image])
    assert [page.text for page in reader.pages(TIFF, out.getvalue())] == ["one", ""]
    assert reader.details["unread_pages"] == "2"


def test_a_page_keeps_to_its_budgets_and_names_its_settings(reader: Reader) -> None:
    refusal = reader.refusal(PDF, scanned(ENGLISH), ocr_page_memory_bytes=8 << 20)
    assert refusal.code == "EXTRACT_MEMORY"
    assert "one scanned page may use (BRIGADE_OCR_PAGE_MEMORY_BYTES)" in refusal.message


def test_a_page_that_draws_without_end_runs_out_of_its_time(reader: Reader) -> None:
    content = documents.endless_pdf()
    ctx = context("a.pdf", settings=Settings(ocr_page_cpu_seconds=1), ocr_jail=reader.ocr_jail)
    path = reader._work_dir / "document"
    path.write_bytes(content)
    source = Source(Pin("b", "k", "e", 1), "a.pdf", PDF.media_type)
    readings = scans.read(ctx, source, path, [scans.Scan(1, 0)], budgets(ctx.services.settings))
    assert readings.missed[1].code == "EXTRACT_CPU"


@pytest.mark.parametrize(("numbers", "said"), [([1], "1"), ([1, 2], "1–2"), ([1, 3, 4, 5, 9], "1, 3–5, 9"), ([], "")])
def test_numbers_are_told_as_people_write_them(numbers: list[int], said: str) -> None:
    assert scans.ranges(numbers) == said


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG")
    return out.getvalue()
