from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from typing import Any

import pytest

from common.errors import Cancelled, Rejected
from common.records import Source
from common.settings import Settings
from functions.extractors import (
    BMP,
    CSV,
    DOCX,
    EPUB,
    FORMATS,
    GIF,
    HTML,
    JPEG,
    MARKDOWN,
    ODP,
    ODS,
    ODT,
    PDF,
    PNG,
    PPTX,
    RTF,
    TEXT,
    TIFF,
    TSV,
    WEBP,
    XLS,
    XLSX,
    Format,
)
from functions.ingest.validate import validate
from tests.unit import documents
from tests.unit.stand_ins import MemoryObjects, NoDatabase, context

# A directory longer than what is read of a zip's end at first.
_MANY = {f"xl/media/{number}": b"" for number in range(2000)}


def _validate(name: str, content: bytes | None, **settings: Any) -> Source:
    return validate(context(name, objects=MemoryObjects(content), database=NoDatabase(), settings=Settings(**settings)))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("report.pdf", documents.pdf("Hello"), PDF),
        ("report.PDF", b"rubbish\n" + documents.pdf("Hello"), PDF),
        ("report.txt", documents.pdf("Hello"), PDF),
        ("no suffix", documents.docx("Hello"), DOCX),
        ("large.docx", documents.docx("x", members={"media/" + "x" * 60: bytes(range(256)) * 999}), DOCX),
        ("macros.docm", documents.docx("Hello"), DOCX),
        ("talk.ppsx", documents.office("ppt/presentation.xml"), PPTX),
        ("talk.docx", documents.office("ppt/presentation.xml"), PPTX),
        ("sheet.xlsm", documents.office("xl/workbook2.xml"), XLSX),
        (
            "sheet",
            documents.archive({"a": random.Random(1).randbytes(99_999), **_MANY, "[Content_Types].xml": b""}),
            XLSX,
        ),
        ("embeds.docx", documents.office("word/document.xml", "word/embeddings/xl/a.xlsx"), DOCX),
        ("old.xls", documents.compound("Workbook"), XLS),
        ("embeds.xls", documents.compound("Book", within=["WordDocument"]), XLS),
        ("table.xls", b"<html><table><tr><td>1", HTML),
        ("text.odt", documents.opendocument("text", ""), ODT),
        ("template", documents.opendocument("text-template", ""), ODT),
        ("sheet.zip", documents.opendocument("spreadsheet", ""), ODS),
        ("talk.odp", documents.opendocument("presentation", ""), ODP),
        ("book.epub", documents.epub("<p>Hello"), EPUB),
        ("book", documents.archive({"META-INF/container.xml": b"<container/>"}), EPUB),
        ("letter.doc", b"{\\rtf1 Hello}", RTF),
        ("people.csv", b"Name,Age", CSV),
        ("people.tsv", b"Name\tAge", TSV),
        ("page.html", b"<p>Hello", HTML),
        ("page", b"\xef\xbb\xbf \n<!DOCTYPE html><p>Hello", HTML),
        ("page", b"<?xml version='1.0'?><html xmlns='x'><body/></html>", HTML),
        ("notes.md", b"# Hello", MARKDOWN),
        ("notes.txt", b"<html> is a tag", TEXT),
        ("notes.txt", "你好，世界".encode("gb18030"), TEXT),
        ("notes.txt", "你好，世界".encode("utf-16"), TEXT),
        ("notes.txt", "Hello, world".encode("utf-16-le"), TEXT),
        ("notes", "你好，世界".encode("big5"), TEXT),
        ("MZ.txt", b"MZ is how Windows programs begin", TEXT),
        ("a+b 中文 ../x.log", b"A line\x1b[0m of a log", TEXT),
        ("photo", b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(99), JPEG),
        ("report.pdf", b"\x89PNG\r\n\x1a\n" + bytes(99), PNG),
        ("scan.txt", b"II*\0\x08\0\0\0" + bytes(99), TIFF),
        ("scan.tif", b"MM\0*\0\0\0\x08" + bytes(99), TIFF),
        ("a.jpg", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(99), WEBP),
        ("a.bmp", b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0" + bytes(99), BMP),
        ("a", b"GIF89a\x01\0\x01\0" + bytes(99), GIF),
        ("bm.txt", b"BM is what this text begins with, and it is no picture", TEXT),
        ("gif.txt", b"GIF89 is older than this text", TEXT),
    ],
)
def test_a_document_is_what_its_content_says(name: str, content: bytes, kind: Format) -> None:
    source = _validate(name, content)
    assert source.media_type == kind.media_type
    assert source.name == name
    assert source.pin.size == len(content)


@pytest.mark.parametrize(
    ("name", "content", "code", "sentence"),
    [
        ("empty.txt", b"", "EMPTY_FILE", "empty.txt is empty"),
        ("report.pdf", documents.PROGRAM, "UNSUPPORTED_TYPE", r"report.pdf is a Linux program \(ELF\), not a PDF"),
        ("report.pdf", documents.SOUND, "UNSUPPORTED_TYPE", "Free Lossless Audio Codec.*not a PDF"),
        ("report.pdf", b"<html>Not found</html>", "UNSUPPORTED_TYPE", "report.pdf is a text, not a PDF"),
        ("report.docx", documents.archive({"a": b"b"}), "UNSUPPORTED_TYPE", "is a zip archive, not a Word document"),
        ("site.docx", documents.archive({"word/a.html": b""}), "UNSUPPORTED_TYPE", "is a zip archive, not a Word"),
        (
            "drawing.odt",
            documents.opendocument("graphics", ""),
            "UNSUPPORTED_TYPE",
            "OpenDocument file of another",
        ),
        ("sheet.xlsx", documents.office("xl/workbook.bin"), "UNSUPPORTED_TYPE", r"binary form \(XLSB\), not a"),
        ("locked.xlsx", documents.compound("EncryptedPackage"), "PASSWORD_PROTECTED", "protected by a password"),
        ("sheet.xlsx", b"Name,Age", "UNSUPPORTED_TYPE", "is a text, not an Excel"),
        ("people.csv", bytes(range(256)) * 10, "BINARY_TEXT", "named as a text but holds binary data"),
        ("picture.png", documents.SOUND, "UNSUPPORTED_TYPE", "What can be read: PDF, .*DOCX.*, HTML, Markdown"),
        ("setup.txt", b"MZ\x90\x00" + bytes(60), "UNSUPPORTED_TYPE", "a Windows program"),
        ("notes.txt", bytes(range(256)) * 10, "BINARY_TEXT", "notes.txt is named as a text but holds binary data"),
        ("data.bin", bytes(range(256)) * 10, "UNSUPPORTED_TYPE", "nobody here knows"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "UNSUPPORTED_TYPE", "an old Office file"),
        (
            "old.docx",
            documents.compound("PowerPoint Document"),
            "UNSUPPORTED_TYPE",
            "from before 2007, not a Word document",
        ),
        ("locked.docx", documents.compound("EncryptedPackage"), "PASSWORD_PROTECTED", "protected by a password"),
        ("locked", documents.compound(*map(str, range(999)), "EncryptionInfo"), "PASSWORD_PROTECTED", "by a password"),
        ("loop.xls", documents.compound("Root", endless=True), "UNSUPPORTED_TYPE", "an old Office file"),
        ("gone.txt", None, "OBJECT_GONE", "no longer there"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(name: str, content: bytes, code: str, sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence) as caught:
        _validate(name, content)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", FORMATS.values(), ids=lambda kind: str(kind.code))
def test_an_empty_file_is_none_of_any_format(kind: Format) -> None:
    with pytest.raises(Rejected) as caught:
        _validate(f"a{kind.suffixes[0]}", b"")
    assert caught.value.code == "EMPTY_FILE"


@pytest.mark.parametrize("cut", [5, 100, 2000, -1, -30])
@pytest.mark.parametrize("content", [documents.compound("Workbook"), documents.docx("Hello"), documents.epub("<p>x")])
def test_a_container_that_was_cut_off_is_judged_all_the_same(content: bytes, cut: int) -> None:
    with suppress(Rejected):
        assert _validate("a", content[:cut]).media_type in FORMATS


def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    assert _validate("a.txt", b"x" * 100, max_document_bytes=100)
    with pytest.raises(Rejected, match="documents may have") as caught:
        _validate("a.txt", b"x" * 101, max_document_bytes=100)
    assert caught.value.code == "FILE_TOO_LARGE"


def test_the_details_tell_type_and_size() -> None:
    ctx = context("a.txt", objects=MemoryObjects(b"Hello"), database=NoDatabase())
    validate(ctx)
    assert ctx.details == {"media_type": "text/plain", "bytes": 5}


@pytest.mark.parametrize("size", [5, 64 * 1024, 64 * 1024 + 1, 300_000])
def test_every_byte_counts_for_the_checksum_and_none_twice(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    content = (b"Line by line\n" * size)[:size]
    written: list[str] = []
    monkeypatch.setattr("common.uploads.verify", lambda _, *, sha256, **__: written.append(sha256))
    _validate("a.txt", content)
    assert written == [hashlib.sha256(content).hexdigest()]


def test_other_bytes_than_were_announced_are_refused_naming_both_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.uploads.verify", lambda *_, **__: "a" * 64)
    with pytest.raises(Rejected, match=f"{hashlib.sha256(b'Hello').hexdigest()}, and should be {'a' * 64}") as caught:
        _validate("a.txt", b"Hello")
    assert caught.value.code == "CHECKSUM_MISMATCH"


def test_who_cancels_while_a_large_file_is_read_is_heard() -> None:
    ctx = context("a.txt", objects=MemoryObjects(b"x" * 200_000), database=NoDatabase())

    def check() -> None:
        raise Cancelled

    ctx.on_check = check
    with pytest.raises(Cancelled):
        validate(ctx)
