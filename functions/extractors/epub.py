"""EPUB: its chapters in reading order, each a page of XHTML (html.py)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote
from zipfile import ZipFile

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, html, packages
from functions.pieces import in_records

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_CHAPTERS = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml"))
# What hides fonts from those who would copy them (EPUB 3.3, 4.3; Adobe's). All else hides the text.
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc")
_AUTHORS_SHOWN = 10


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A page for each chapter of the spine. Notes `title` and `author`, and `unreadable_pages` that the book lacks.

    Raises `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED, INFLATES_TOO_LARGE, TOO_MANY_PAGES or BINARY_TEXT.
    """
    with packages.opened(path, options, "an EPUB book") as archive:
        _demand_open(archive, options)
        book = _book(archive)
        options.demand(pages=len(book.spine))
        if book.title:
            options.note(title=book.title)
        if book.authors:
            options.note(author=", ".join(book.authors[:_AUTHORS_SHOWN]))
        missing = []
        for number, part in enumerate(book.chapters(), start=1):
            if part not in archive.NameToInfo:
                missing.append(number)
                options.note(unreadable_pages=missing)
                yield Page(number, "")
                continue
            _, pieces = html.read(html.decoded(archive.read(part), options))
            yield from in_records(pieces, number)


@dataclass(slots=True)
class _Book:
    """What the package document says. `parts`: of each item its member's name, or "" if it is no chapter."""

    title: str = ""
    authors: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    spine: list[str] = field(default_factory=list)

    def chapters(self) -> Iterator[str]:
        # The table of contents may stand among the chapters, and repeats their headings.
        return (part for part in (self.parts.get(item) for item in self.spine) if part)


def _book(archive: ZipFile) -> _Book:
    with archive.open(_CONTAINER) as file:
        roots = [root.get("full-path", "") for _, root in packages.elements(file, "{*}rootfile", starts=False)]
    root = archive.getinfo(roots[0] if roots else "").filename
    folder = posixpath.dirname(root)
    book = _Book()
    wanted = ("{http://purl.org/dc/elements/1.1/}title", "{http://purl.org/dc/elements/1.1/}creator")
    with archive.open(root) as file:
        for _, element in packages.elements(file, *wanted, "{*}item", "{*}itemref", starts=False):
            text = " ".join((element.text or "").split())
            match packages.local(element):
                case "title":
                    book.title = book.title or text
                case "creator" if text:
                    book.authors.append(text)
                case "itemref":
                    book.spine.append(element.get("idref", ""))
                case "item":
                    is_chapter = element.get("media-type") in _CHAPTERS
                    is_contents = "nav" in element.get("properties", "").split()
                    part = posixpath.normpath(posixpath.join(folder, unquote(element.get("href", ""))))
                    book.parts[element.get("id", "")] = part if is_chapter and not is_contents else ""
    return book


def _demand_open(archive: ZipFile, options: Options) -> None:
    if _ENCRYPTION not in archive.NameToInfo:
        return
    with archive.open(_ENCRYPTION) as file:
        for _, method in packages.elements(
            file, "{*}EncryptedData/{*}EncryptionMethod", "{*}EncryptionMethod", starts=False
        ):
            if (
                not method.get("Algorithm", "").startswith(_FONTS)
                and packages.local(method.getparent()) == "EncryptedData"
            ):
                raise Rejected(
                    f"{options.name} is protected against copying (DRM): its text cannot be read.",
                    code="PASSWORD_PROTECTED",
                )
