"""Documents through EXTRACT_TEXT as a worker does it: downloaded, read in the jail, streamed back."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import msgspec
import openpyxl
import pptx as python_pptx
import pytest
import xlwt
from structlog.testing import capture_logs

from common.errors import Cancelled, Rejected
from common.jail import Jail
from common.records import Page, Pin, Source
from common.services import Services
from common.settings import Settings
from functions.extractors import (
    DOC,
    DOCX,
    EPUB,
    FORMATS,
    HTML,
    ODP,
    ODS,
    ODT,
    PDF,
    PPTX,
    RTF,
    TEXT,
    XLS,
    XLSX,
    XML,
    Format,
    Options,
    jailed,
)
from functions.ingest.extract import _records, budgets, clear_stale, extract, warm_up
from functions.pieces import RECORD_CHARACTERS, pieces_of, text_records
from tests.unit import documents
from tests.unit.stand_ins import MemoryObjects, context

_MIB = 1 << 20
OPTIONS = Options(name="document", max_inflated_bytes=_MIB, max_pages=1, max_characters=1 << 30, max_image_pixels=_MIB)
# Pictures have theirs by OCR, DOC by a program, and what has members writes them down first: each has tests of its own.
WITH_TEXT = [
    kind
    for kind in FORMATS.values()
    if not kind.media_type.startswith("image/") and not kind.has_members and kind is not DOC
]


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


class Reader:
    """Extracts one document after the other with the same jail, as a worker does."""

    def __init__(self, jail: Jail, work_dir: Path) -> None:
        self._jail, self._work_dir = jail, work_dir
        self.details: dict[str, Any] = {}

    def pages(self, kind: Format, content: bytes | Path, **settings: Any) -> list[Page]:
        name = f"document{kind.suffixes[0]}"
        given = Settings(work_dir=self._work_dir, **settings)
        ctx = context(name, objects=MemoryObjects(content), settings=given, jail=self._jail)
        self.details = ctx.details
        try:
            return list(extract(ctx, Source(Pin("b", "k", "e", 1), name, kind.media_type)))
        finally:
            assert not list(self._work_dir.iterdir())

    def refusal(self, kind: Format, content: bytes | Path, **settings: Any) -> Rejected:
        """The refusal of this document; the next one goes through."""
        with pytest.raises(Rejected) as caught:
            self.pages(kind, content, **settings)
        assert self.pages(TEXT, b"The next document") == [Page(1, "The next document")]
        return caught.value


@pytest.fixture
def reader(jail: Jail, tmp_path: Path) -> Reader:
    return Reader(jail, tmp_path)


def test_a_pdf_comes_page_by_page(reader: Reader) -> None:
    pages = reader.pages(PDF, documents.pdf("First page", "", "第三页"))
    assert [(page.number, page.text) for page in pages] == [(1, "First page"), (2, ""), (3, "第三页")]
    assert [len(page.lines) for page in pages] == [1, 0, 1]
    assert reader.details == {"media_type": "application/pdf", "pages": 3, "characters": 13}


def test_a_pdf_with_an_owners_password_alone_opens(reader: Reader) -> None:
    (page,) = reader.pages(PDF, documents.pdf("Hello", owner_password="owner"))
    assert page.text == "Hello"


def test_a_pdf_that_is_complete_but_had_to_be_repaired_says_so(reader: Reader) -> None:
    (page,) = reader.pages(PDF, documents.damaged_but_complete_pdf())
    assert page.text == "All of it is here"
    assert reader.details["repaired"] is True


@pytest.mark.parametrize(
    ("kind", "content", "code", "sentence"),
    [
        (PDF, documents.pdf("One", "Two")[:-200], "FILE_DAMAGED", "document.pdf is damaged or incomplete"),
        (PDF, b"%PDF-1.7\n" + b"x" * 100, "FILE_DAMAGED", "damaged"),
        (PDF, documents.pdf("Hello", user_password="user"), "PASSWORD_PROTECTED", "protected by a password"),
        (PDF, documents.picture_pdf(), "NO_TEXT", "is a PDF without text: its page hold"),
        (PDF, documents.pdf("", ""), "NO_TEXT", "its 2 pages hold"),
        (DOCX, documents.docx("Hello")[:-30], "FILE_DAMAGED", "cannot be read as a Word document"),
        (DOCX, documents.archive({"word/document.xml": b"<w:document"}), "FILE_DAMAGED", "damaged"),
        (DOCX, documents.docx(), "NO_TEXT", "without text"),
        (TEXT, b"Text at first\n" + bytes(range(256)) * 100, "BINARY_TEXT", "holds binary data"),
        (TEXT, b" \n\t\n", "NO_TEXT", "without text"),
        (HTML, b"<script>alert(1)</script>", "NO_TEXT", "without text"),
    ],
)
def test_a_document_without_readable_text_is_refused_in_a_sentence(
    reader: Reader, kind: Format, content: bytes, code: str, sentence: str
) -> None:
    refusal = reader.refusal(kind, content)
    assert refusal.code == code
    assert sentence in refusal.message


def test_a_pdf_that_never_ends_runs_out_of_time(reader: Reader) -> None:
    refusal = reader.refusal(PDF, documents.endless_pdf(), extract_seconds=0.8)
    assert refusal.code == "EXTRACT_TIMEOUT"
    refusal = reader.refusal(PDF, documents.endless_pdf(), extract_cpu_seconds=1)
    assert refusal.code == "EXTRACT_CPU"


def test_a_pdf_that_eats_memory_is_stopped_at_its_budget(reader: Reader) -> None:
    refusal = reader.refusal(PDF, documents.greedy_pdf(64 * _MIB), extract_memory_bytes=48 * _MIB)
    assert refusal.code == "EXTRACT_MEMORY"
    assert "48 MiB" in refusal.message


def test_a_docx_that_inflates_to_gigabytes_is_refused_before_it_does(reader: Reader) -> None:
    refusal = reader.refusal(DOCX, documents.docx_bomb(2 << 30))
    assert refusal.code == "INFLATES_TOO_LARGE"
    assert "2,048 MiB" in refusal.message


def test_a_docx_that_lies_about_its_size_is_damaged(reader: Reader) -> None:
    assert reader.refusal(DOCX, documents.docx_bomb(64 * _MIB, declared_bytes=1000)).code == "FILE_DAMAGED"


def test_the_parts_of_a_docx_are_counted_together(reader: Reader) -> None:
    refusal = reader.refusal(DOCX, documents.docx_with_many_parts(20 * _MIB), max_inflated_bytes=10 * _MIB)
    assert refusal.code == "INFLATES_TOO_LARGE"
    assert "10 MiB that one document may have (BRIGADE_MAX_INFLATED_BYTES)" in refusal.message


def test_a_docx_whose_blocks_unfold_faster_than_they_are_read_keeps_to_its_memory(reader: Reader) -> None:
    # A kilobyte of bzip2 is 32 MiB, and zipfile unfolds whatever it has read.
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("word/document.xml", b" " * (32 * _MIB))
    data = whole.getvalue().replace((32 * _MIB).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    refusal = reader.refusal(DOCX, data, extract_memory_bytes=16 * _MIB)
    assert refusal.code in ("EXTRACT_MEMORY", "FILE_DAMAGED")


def test_a_pdf_that_unfolds_a_millionfold_keeps_to_its_budgets(reader: Reader) -> None:
    bomb = documents.pdf_bomb(96 * _MIB)
    assert len(bomb) < _MIB // 64
    assert reader.refusal(PDF, bomb, extract_memory_bytes=32 * _MIB).code == "EXTRACT_MEMORY"


def test_a_pdf_of_too_many_pages_ends_before_the_first_is_read(reader: Reader) -> None:
    assert len(reader.pages(PDF, documents.pdf("One", "Two"), max_pages=2)) == 2
    refusal = reader.refusal(PDF, documents.pdf("One", "Two", "Three"), max_pages=2)
    assert refusal.code == "TOO_MANY_PAGES"
    assert refusal.message == ("document.pdf has more than the 2 pages that one document may have (BRIGADE_MAX_PAGES).")


@pytest.mark.parametrize("pages", [10_000_000, 0, -1])
def test_a_pdf_that_lies_about_its_pages_is_damaged(reader: Reader, pages: int) -> None:
    assert reader.refusal(PDF, documents.pdf_that_says(pages), extract_cpu_seconds=2).code == "FILE_DAMAGED"


def _workbook(text: str, kind: Format) -> bytes:
    out = io.BytesIO()
    if kind is XLS:
        old = xlwt.Workbook()
        old.add_sheet("Sheet").write(0, 0, text)
        old.save(out)
    else:
        book = openpyxl.Workbook()
        book.active.append([text])
        book.save(out)
    return out.getvalue()


def _deck(text: str) -> bytes:
    presentation = python_pptx.Presentation()
    presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = text
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def _example(kind: Format, text: str) -> bytes:
    """A document of that format that holds this text."""
    paragraph = f"<text:p>{text}</text:p>"
    row = f"<table:table-row><table:table-cell>{paragraph}</table:table-cell></table:table-row>"
    sheet = f"<table:table>{row}</table:table>"
    slide = f"<draw:page><draw:frame>{paragraph}</draw:frame></draw:page>"
    made: dict[Format, Callable[[], bytes]] = {
        PDF: lambda: documents.pdf(text),
        DOCX: lambda: documents.docx(text),
        PPTX: lambda: _deck(text),
        XLSX: lambda: _workbook(text, kind),
        XLS: lambda: _workbook(text, kind),
        ODT: lambda: documents.opendocument("text", f"<office:text>{paragraph}</office:text>"),
        ODS: lambda: documents.opendocument("spreadsheet", f"<office:spreadsheet>{sheet}</office:spreadsheet>"),
        ODP: lambda: documents.opendocument("presentation", f"<office:presentation>{slide}</office:presentation>"),
        EPUB: lambda: documents.epub(f"<p>{text}"),
        XML: lambda: f"<note>{text}</note>".encode(),
        RTF: lambda: b"{\\rtf1{\\fonttbl{\\f0\\fcharset136 x;}}\\f0 %b}" % text.encode("ascii"),
    }
    return made.get(kind, text.encode)()


@pytest.mark.parametrize("kind", WITH_TEXT, ids=lambda kind: str(kind.code))
def test_every_format_is_read_in_the_jail(reader: Reader, kind: Format) -> None:
    assert "Hello" in [piece.text for page in reader.pages(kind, _example(kind, "Hello")) for piece in pieces_of(page)]


@pytest.mark.parametrize("kind", WITH_TEXT, ids=lambda kind: str(kind.code))
def test_a_text_that_is_too_long_ends_where_it_is(reader: Reader, kind: Format) -> None:
    refusal = reader.refusal(kind, _example(kind, "word " * 10), max_characters=20)
    assert refusal.code == "TEXT_TOO_LONG"
    assert "more than the 20 characters of text" in refusal.message


def test_what_a_child_wrote_is_believed_as_little_as_the_document(tmp_path: Path) -> None:
    for written in (b"nonsense\n", b'{"number": "one", "text": ""}\n', b'{"number":1,"text":"' + b"x" * (3 * _MIB)):
        (tmp_path / "pages").write_bytes(written)
        with pytest.raises(Rejected) as caught:
            list(_records(tmp_path / "pages"))
        assert caught.value.code == "EXTRACT_CRASHED"


def test_a_worker_starts_with_a_full_disk_too(jail: Jail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = cast(Services, SimpleNamespace(settings=Settings(work_dir=tmp_path), jail=jail))
    monkeypatch.setattr(tempfile, "mkdtemp", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with capture_logs() as logs:
        warm_up(services)
    assert [line["event"] for line in logs] == ["jail.protections", "jail.cold"]
    assert {"landlock", "seccomp"} <= logs[0].keys()


def test_text_that_would_fill_the_disk_is_stopped(reader: Reader) -> None:
    assert reader.refusal(TEXT, b"word " * 100_000, extract_output_bytes=100_000).code == "EXTRACT_OUTPUT"


def test_a_cancelled_task_stops_its_extraction(jail: Jail, tmp_path: Path) -> None:
    def check() -> None:
        # Not before the child runs.
        if any(tmp_path.glob("*/pages")):
            raise Cancelled

    objects = MemoryObjects(documents.endless_pdf())
    ctx = context("a.pdf", objects=objects, jail=jail, settings=Settings(work_dir=tmp_path))
    ctx.on_check = check
    with pytest.raises(Cancelled):
        list(extract(ctx, Source(Pin("b", "k", "e", 1), "a.pdf", PDF.media_type)))
    assert not list(tmp_path.iterdir())


def test_a_large_text_flows_through_a_small_child(jail: Jail, tmp_path: Path) -> None:
    source, work_dir = tmp_path / "large.txt", tmp_path / "work"
    work_dir.mkdir()
    documents.large_text(source, 24 * _MIB)
    # A file of 24 MiB, a limit of 16 MiB: what is held whole does not fit.
    pages = Reader(jail, work_dir).pages(TEXT, source, extract_memory_bytes=16 * _MIB)
    assert "\n".join(page.text for page in pages).rstrip("\n") == source.read_text("utf-8").rstrip("\n")
    assert max(len(page.text) for page in pages) <= RECORD_CHARACTERS


def test_what_no_encoding_can_write_never_leaves_the_jail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, options: Options) -> Iterator[Page]:
        options.note(title="a\ud800\x00 title", unreadable_pages=[2])
        yield Page(1, "\x00\udfff")
        yield Page(2, "a\udc80 \x00page 😀")

    monkeypatch.setattr(jailed, "EXTRACTORS", {"text/plain": read})
    options = {"media_type": "text/plain", "name": "document", **budgets(Settings())}
    details = jailed.extract(tmp_path, tmp_path / "pages", options)
    assert details == {"pages": 2, "characters": 8, "blank": False, "title": "a title", "unreadable_pages": [2]}
    lines = (tmp_path / "pages").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Page) for line in lines] == [Page(1, ""), Page(2, "a page 😀")]


def test_what_killed_workers_left_is_cleared_and_what_others_use_is_not(tmp_path: Path) -> None:
    # A number that was given, and is free again.
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    names = [f"brigade-extract-{pid}-x" for pid in (dead.pid, os.getpid(), os.getppid(), 1 << 70)] + ["another-1-x"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "document").write_text("text")
    clear_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another-1-x", f"brigade-extract-{os.getppid()}-x"]


def test_a_document_is_read_under_the_number_of_its_worker(jail: Jail, tmp_path: Path) -> None:
    seen: list[str] = []
    ctx = context(objects=MemoryObjects(b"text"), jail=jail, settings=Settings(work_dir=tmp_path))
    ctx.on_check = lambda: seen.extend(path.name for path in tmp_path.iterdir())
    list(extract(ctx, Source(Pin("b", "k", "e", 1), "a.txt", TEXT.media_type)))
    assert seen
    assert all(name.startswith(f"brigade-extract-{os.getpid()}-") for name in seen)


def test_records_are_bounded_and_end_at_paragraphs() -> None:
    paragraph = "x" * 999 + "\n\n"
    records = list(text_records([paragraph * 200], number=7))
    assert {record.number for record in records} == {7}
    assert "".join(record.text + "\n" for record in records) == paragraph * 200 + "\n"
    assert all(len(record.text) <= RECORD_CHARACTERS for record in records)
    assert all(record.text.endswith("x\n") for record in records[:-1])


def test_a_text_without_any_place_to_cut_is_cut_anyway() -> None:
    records = list(text_records(["字" * 120_000]))
    assert [len(record.text) for record in records] == [50_000, 50_000, 20_000]
