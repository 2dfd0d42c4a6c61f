"""What a file is: judged by its content. Its name decides only between texts, which look alike."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import puremagic

from common.errors import Rejected
from functions.extractors import (
    DOC,
    DOCX,
    EML,
    EPUB,
    FORMATS,
    HTML,
    MSG,
    ODP,
    ODS,
    ODT,
    PDF,
    PPTX,
    TEXT,
    XLS,
    XLSX,
    ZIP,
    Format,
)
from functions.ingest import containers
from functions.ingest.containers import OLE2, Content, compound_names, stored_type, zip_names
from functions.ingest.text_types import is_mail, kind_of

# Readers accept as much rubbish before the header (PDF 1.7, implementation note 13).
_PDF_HEADER_WITHIN = 1024
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")
# What puremagic says in other words, or only guesses.
_PROGRAMS = {
    b"\x7fELF": "a Linux program (ELF)",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS or Java program",
}
# A zip is of the first kind that it holds the sign of. Office's files (OPC) have a list of types, and a folder for
# each program: its main part may have any name.
_OFFICE_SIGN = "[Content_Types].xml"
_OFFICE: dict[str, Format | str] = {"word/": DOCX, "ppt/": PPTX, "xl/": XLSX}
# A folder of Excel's that holds the same in another form.
_BINARY_SIGN = "xl/workbook.bin"
# OpenDocument and EPUB say what they are at their beginning. Templates add a word to it.
_STORED: dict[str, Format | str] = {
    ODT.media_type: ODT,
    ODS.media_type: ODS,
    ODP.media_type: ODP,
    "application/vnd.oasis.opendocument.": "an OpenDocument file of another kind",
    EPUB.media_type: EPUB,
}
_EPUB_SIGN = "META-INF/container.xml"
# An OLE2 file is of the first kind that it holds a stream or storage of.
_COMPOUND: dict[str, Format | str] = {
    "Workbook": XLS,
    "Book": XLS,
    "PowerPoint Document": "a PowerPoint presentation from before 2007",
    "WordDocument": DOC,
    "__properties_version1.0": MSG,
}
_LOCKED = frozenset(("EncryptedPackage", "EncryptionInfo"))
# Formats that a name promises: a file so named that is something else is broken, or pretends.
# (Not XLS and RTF: programs name tables of HTML or text so.)
_PROMISED = (PDF, DOCX, PPTX, XLSX, ODT, ODS, ODP, EPUB)
_TEXTS = tuple(kind for kind in FORMATS.values() if kind.by_name)
_TEXT_SUFFIXES = frozenset(suffix for kind in (*_TEXTS, HTML) for suffix in kind.suffixes)
# Control characters that no text has; a few stray bytes are forgiven, as in functions/extractors/text.py.
_CONTROLS = bytes(set(range(32)) - {9, 10, 11, 12, 13, 27})
_ODD_SHARE, _ODD_ALLOWED = 0.01, 3


def judge(name: str, content: Content) -> Format:
    """The format of a file that is not empty. Raises `Rejected` with UNSUPPORTED_TYPE, BINARY_TEXT or
    PASSWORD_PROTECTED.
    """
    head = content.head
    found: Format | str | None
    promised = next((kind for kind in _PROMISED if _suffix(name) in kind.suffixes), None)
    if head.startswith(b"%PDF-") or (promised is PDF and b"%PDF-" in head[:_PDF_HEADER_WITHIN]):
        return PDF
    if begun := next((kind for kind in FORMATS.values() if _begins(kind, head)), None):
        return begun
    if head.startswith((containers.ZIP, containers.EMPTY_ZIP)):
        found = _in_zip(content)
        if found is ZIP and promised:
            found = "a zip archive"
    elif head.startswith(OLE2):
        found = _in_compound(name, content)
    elif _is_text(head):
        found = "a text" if promised else _text_format(head, name)
    else:
        found = _what(head)
        if not found and _suffix(name) in _TEXT_SUFFIXES:
            raise Rejected(f"{name} is named as a text but holds binary data.", code="BINARY_TEXT")
    if isinstance(found, Format):
        return found
    raise _unsupported(name, found or "of a type that nobody here knows", promised)


def _begins(kind: Format, head: bytes) -> bool:
    return bool(kind.begins and re.match(kind.begins, head, re.DOTALL))


def _in_zip(content: Content) -> Format | str:
    names = zip_names(content)
    if _BINARY_SIGN in names:
        return "an Excel workbook in Excel's binary form (XLSB)"
    if _OFFICE_SIGN in names:
        for folder, kind in _OFFICE.items():
            if any(member.startswith(folder) for member in names):
                return kind
    stored = stored_type(content.head)
    if found := next((kind for start, kind in _STORED.items() if stored.startswith(start)), None):
        return found
    # Books that forgot to say so.
    return EPUB if _EPUB_SIGN in names else ZIP


def _in_compound(name: str, content: Content) -> Format | str:
    names = compound_names(content)
    if names & _LOCKED:
        raise Rejected(
            f"{name} is protected by a password. Save it again without one and upload that.", code="PASSWORD_PROTECTED"
        )
    return next((kind for stream, kind in _COMPOUND.items() if stream in names), "an old Office file (before 2007)")


def _text_format(head: bytes, name: str) -> Format:
    if named := next((kind for kind in _TEXTS if _suffix(name) in kind.suffixes), None):
        return named
    if is_mail(head, _suffix(name)):
        return EML
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if _suffix(name) in HTML.suffixes or start.startswith(_HTML_STARTS):
        return HTML
    if start.startswith(b"<?xml") and b"<html" in start[:1024]:
        return HTML
    return kind_of(head, _suffix(name)) or TEXT


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


def _unsupported(name: str, what: str, promised: Format | None) -> Rejected:
    supported = ", ".join(kind.name for kind in FORMATS.values())
    instead = f", not {_article(promised)} {promised.name}" if promised else ""
    return Rejected(f"{name} is {what}{instead}. What can be read: {supported}.", code="UNSUPPORTED_TYPE")


def _article(kind: Format) -> str:
    return "an" if kind.name[0] in "AEIOU" else "a"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
