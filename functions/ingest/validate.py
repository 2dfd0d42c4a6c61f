"""VALIDATE: pins the object and judges by its content whether it is a document that can be read."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import puremagic

from common import uploads
from common.context import Context
from common.errors import Rejected
from common.objects import ObjectStore
from common.records import Pin, Source
from functions.extractors import DOCX, FORMATS, HTML, MARKDOWN, PDF, TEXT, Format

_HEAD_BYTES = 64 * 1024
# Readers accept as much rubbish before the header (PDF 1.7, implementation note 13).
_PDF_HEADER_WITHIN = 1024
_ZIP, _OLE2 = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")
# What puremagic says in other words, or only guesses.
_PROGRAMS = {
    b"\x7fELF": "a Linux program (ELF)",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS or Java program",
}
# In a zip, what its first members' names give away.
_ZIP_KINDS = {
    b"ppt/": "a PowerPoint presentation",
    b"xl/": "an Excel workbook",
    b"mimetypeapplication/epub": "an EPUB book",
    b"mimetypeapplication/vnd.oasis": "an OpenDocument file",
}
# Formats that a name promises: a file so named that is something else is broken, or pretends.
_PROMISED = (PDF, DOCX)
_TEXT_SUFFIXES = (*TEXT.suffixes, *MARKDOWN.suffixes, *HTML.suffixes)
# Control characters that no text has; a few stray bytes are forgiven, as in functions/extractors/text.py.
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 27})
_ODD_SHARE, _ODD_ALLOWED = 0.01, 3


def validate(ctx: Context) -> Source:
    """The object pinned, with its type. Reads it once, for its SHA-256, and its last 64 KiB again if it is a zip.

    Raises `Rejected` with OBJECT_GONE, EMPTY_FILE, FILE_TOO_LARGE, CHECKSUM_MISMATCH, UNSUPPORTED_TYPE, BINARY_TEXT
    or PASSWORD_PROTECTED.
    """
    objects, name = ctx.services.objects, ctx.target.name
    pin = objects.pin(ctx.target, ctx.services.settings.max_document_bytes)
    if pin.size == 0:
        raise Rejected(f"{name} is empty: it has no bytes at all.", code="EMPTY_FILE")
    head = objects.read_range(pin, 0, _HEAD_BYTES)
    _verify(ctx, pin, head)
    kind = _judge(objects, pin, name, head)
    ctx.note(media_type=kind.media_type, bytes=pin.size)
    return Source(pin=pin, name=name, media_type=kind.media_type)


def _verify(ctx: Context, pin: Pin, head: bytes) -> None:
    digest = hashlib.sha256(head)
    if pin.size > len(head):
        read = len(head)
        for piece in ctx.services.objects.stream(pin, read):
            digest.update(piece)
            read += len(piece)
            ctx.progress(read / pin.size)
            ctx.check_cancelled()
    found = digest.hexdigest()
    with ctx.services.database.transaction() as connection:
        announced = uploads.verify(
            connection, document_id=ctx.target.document_id, version=ctx.target.version, sha256=found
        )
    if announced is not None:
        raise Rejected(
            f"{ctx.target.name} did not arrive as it was announced: its SHA-256 is {found}, and should be {announced}. "
            "Upload it again.",
            code="CHECKSUM_MISMATCH",
        )


def _judge(objects: ObjectStore, pin: Pin, name: str, head: bytes) -> Format:
    promised = next((kind for kind in _PROMISED if _suffix(name) in kind.suffixes), None)
    if head.startswith(b"%PDF-") or (promised is PDF and b"%PDF-" in head[:_PDF_HEADER_WITHIN]):
        return PDF
    if head.startswith(_ZIP):
        # A zip's directory is at its end; its first members are mostly the telling ones.
        tail = objects.read_range(pin, max(0, pin.size - _HEAD_BYTES), _HEAD_BYTES)
        if _is_docx(head, tail):
            return DOCX
        inside = (what for mark, what in _ZIP_KINDS.items() if mark in head or mark in tail)
        raise _unsupported(name, next(inside, "a zip archive"), promised)
    if head.startswith(_OLE2):
        raise _old_office(name, head, promised)
    if not _is_text(head):
        what = _what(head)
        if what is None and _suffix(name) in _TEXT_SUFFIXES:
            raise Rejected(f"{name} is named as a text but holds binary data.", code="BINARY_TEXT")
        raise _unsupported(name, what or "of a type that nobody here knows", promised)
    if promised:
        raise _unsupported(name, "a text", promised)
    return _text_format(head, name)


def _text_format(head: bytes, name: str) -> Format:
    if _suffix(name) in MARKDOWN.suffixes:
        return MARKDOWN
    if _suffix(name) in TEXT.suffixes:
        return TEXT
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if _suffix(name) in HTML.suffixes or start.startswith(_HTML_STARTS):
        return HTML
    if start.startswith(b"<?xml") and b"<html" in start[:1024]:
        return HTML
    return TEXT


def _is_docx(head: bytes, tail: bytes) -> bool:
    return b"word/document.xml" in head or b"word/document.xml" in tail


def _is_text(head: bytes) -> bool:
    """Whether it may be text in any encoding: no control characters to speak of, unless it is UTF-16."""
    if head.startswith(_UTF16_MARKS):
        return True
    if _known_binary(head):
        return False
    # UTF-16 without a mark: one byte of each pair is zero, and the other is a text's.
    for half in (head[0::2], head[1::2]):
        if half and half.count(0) > 0.5 * len(half) and head.count(0) <= half.count(0) * 1.02:
            head = head.replace(b"\0", b"")
    return len(head) - len(head.translate(None, _CONTROLS)) <= max(_ODD_ALLOWED, _ODD_SHARE * len(head))


def _known_binary(head: bytes) -> bool:
    # Two letters are no proof: a text may begin with "MZ". A program has zeros.
    return any(head.startswith(mark) for mark in _PROGRAMS) and b"\0" in head


def _what(head: bytes) -> str | None:
    """What a binary file is, in words."""
    if found := next((what for mark, what in _PROGRAMS.items() if head.startswith(mark)), None):
        return found
    try:
        return f"a file of another kind ({puremagic.magic_string(head)[0].name})"
    except puremagic.PureError:
        return None


def _old_office(name: str, head: bytes, promised: Format | None) -> Rejected:
    if "EncryptedPackage".encode("utf-16-le") in head or promised is DOCX:
        return Rejected(
            f"{name} is protected by a password, or an old Word file under a new name. Save it again as DOCX, "
            "without a password.",
            code="PASSWORD_PROTECTED",
        )
    return _unsupported(name, "an old Office file (before 2007)", promised)


def _unsupported(name: str, what: str, promised: Format | None) -> Rejected:
    supported = ", ".join(kind.name for kind in FORMATS.values())
    instead = f", not a {promised.name}" if promised else ""
    return Rejected(f"{name} is {what}{instead}. What can be read: {supported}.", code="UNSUPPORTED_TYPE")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
