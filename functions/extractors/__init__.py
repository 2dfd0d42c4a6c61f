"""Bytes to pages: one file a format, each with `extract(path: Path, options: Options) -> Iterator[Page]`.

Pages are made of pieces (functions/pieces.py), lazily: `in_records(pieces, number)`; `text_records` where nothing is
known but the text. Tables go through functions/extractors/tables.py, so that rows keep their headers in the same way
everywhere. Page numbers count from 1 and never go back; a format without pages has one.

To add a format, add its file and its line here, which says by what it is told from others: how it begins, or, of texts
that look alike, its name. (Only what looks like another and differs within, as zips do, needs a word in
functions/ingest/types.py.) doc.py and csv.py are short examples. What holds other documents has `members` as well
(functions/members.py).

Extractors run in the jail (functions/extractors/jailed.py), where nothing is but their file and code: they may crash,
loop or ask for all memory, and raise `Rejected` for whatever is wrong with the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from common.errors import Rejected
from common.records import Page


@dataclass(frozen=True, slots=True)
class Format:
    """`module` names the extractor, so that only the jail imports parsers."""

    media_type: str
    name: str
    suffixes: tuple[str, ...]
    module: str
    code: str
    """Its short name in lists and their filters."""
    has_members: bool = False
    """Whether `module` has `members` too (functions/members.py)."""
    begins: bytes = b""
    """What files of this format, and no others, begin with: a regular expression, of which `.` is any byte."""
    by_name: bool = False
    """Whether it is a text that only its suffixes tell from others."""


PDF = Format("application/pdf", "PDF", (".pdf",), "functions.extractors.pdf", "pdf")
DOCX = Format(
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "Word document (DOCX)",
    (".docx", ".docm", ".dotx", ".dotm"),
    "functions.extractors.docx",
    "docx",
)
DOC = Format(
    "application/msword", "Word document from before 2007", (".doc", ".dot"), "functions.extractors.doc", "doc"
)
PPTX = Format(
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "PowerPoint presentation (PPTX)",
    (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"),
    "functions.extractors.pptx",
    "pptx",
)
XLSX = Format(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "Excel workbook (XLSX)",
    (".xlsx", ".xlsm", ".xltx", ".xltm"),
    "functions.extractors.xlsx",
    "xlsx",
)
XLS = Format("application/vnd.ms-excel", "Excel workbook (XLS)", (".xls", ".xlt"), "functions.extractors.xls", "xls")
ODT = Format(
    "application/vnd.oasis.opendocument.text",
    "OpenDocument text (ODT)",
    (".odt", ".ott"),
    "functions.extractors.odf",
    "odt",
)
ODS = Format(
    "application/vnd.oasis.opendocument.spreadsheet",
    "OpenDocument spreadsheet (ODS)",
    (".ods", ".ots"),
    "functions.extractors.odf",
    "ods",
)
ODP = Format(
    "application/vnd.oasis.opendocument.presentation",
    "OpenDocument presentation (ODP)",
    (".odp", ".otp"),
    "functions.extractors.odf",
    "odp",
)
EPUB = Format("application/epub+zip", "EPUB", (".epub",), "functions.extractors.epub", "epub")
RTF = Format("application/rtf", "RTF", (".rtf",), "functions.extractors.rtf", "rtf", begins=rb"{\\rtf")
CSV = Format("text/csv", "CSV", (".csv",), "functions.extractors.csv", "csv", by_name=True)
TSV = Format("text/tab-separated-values", "TSV", (".tsv", ".tab"), "functions.extractors.csv", "tsv", by_name=True)
HTML = Format("text/html", "HTML", (".html", ".htm", ".xhtml"), "functions.extractors.html", "html")
MARKDOWN = Format(
    "text/markdown", "Markdown", (".md", ".markdown"), "functions.extractors.markdown", "markdown", by_name=True
)
TEXT = Format("text/plain", "plain text", (".txt", ".text"), "functions.extractors.text", "text", by_name=True)

PNG = Format(
    "image/png",
    "PNG picture",
    (".png",),
    "functions.extractors.images",
    "png",
    begins=rb"\x89PNG\r\n\x1a\n",
)
JPEG = Format(
    "image/jpeg",
    "JPEG picture",
    (".jpg", ".jpeg"),
    "functions.extractors.images",
    "jpeg",
    begins=rb"\xff\xd8\xff",
)
TIFF = Format(
    "image/tiff",
    "TIFF picture",
    (".tif", ".tiff"),
    "functions.extractors.images",
    "tiff",
    begins=rb"II[*+]\0|MM\0[*+]",
)
WEBP = Format(
    "image/webp",
    "WebP picture",
    (".webp",),
    "functions.extractors.images",
    "webp",
    begins=rb"RIFF....WEBP",
)
# Its header says how long its second one is: a text may begin with "BM".
BMP = Format(
    "image/bmp",
    "BMP picture",
    (".bmp",),
    "functions.extractors.images",
    "bmp",
    begins=rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}",
)
GIF = Format("image/gif", "GIF picture", (".gif",), "functions.extractors.images", "gif", begins=rb"GIF8[79]a")

ZIP = Format("application/zip", "ZIP archive", (".zip",), "functions.extractors.zip", "zip", has_members=True)
EML = Format("message/rfc822", "e-mail (EML)", (".eml",), "functions.extractors.eml", "eml", has_members=True)
MSG = Format(
    "application/vnd.ms-outlook",
    "Outlook message (MSG)",
    (".msg",),
    "functions.extractors.msg",
    "msg",
    has_members=True,
)
JSON = Format("application/json", "JSON", (".json", ".geojson", ".ipynb"), "functions.extractors.json", "json")
JSONL = Format("application/jsonl", "JSON Lines", (".jsonl", ".ndjson"), "functions.extractors.json", "jsonl")
XML = Format("application/xml", "XML", (".xml", ".rss", ".atom", ".xsd", ".xsl"), "functions.extractors.xml", "xml")
CODE = Format(
    "text/x-source",
    "source code",
    (
        *(".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".groovy", ".c", ".h"),
        *(".cc", ".cpp", ".cxx", ".hh", ".hpp", ".cs", ".m", ".mm", ".go", ".rs", ".swift", ".rb", ".php", ".pl"),
        *(".pm", ".lua", ".r", ".jl", ".dart", ".ex", ".exs", ".erl", ".hs", ".ml", ".clj", ".el", ".lisp", ".vb"),
        *(".pas", ".f90", ".asm", ".s", ".sh", ".bash", ".zsh", ".ps1", ".bat", ".cmd", ".sql", ".css", ".scss"),
        *(".less", ".vue", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".proto", ".graphql"),
        *(".tf", ".gradle", ".cmake", ".mk", ".diff", ".patch"),
    ),
    "functions.extractors.code",
    "code",
)

FORMATS = {kind.media_type: kind for kind in tuple(globals().values()) if isinstance(kind, Format)}
"""All of them, in this order, by media type."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an extractor must keep to, and where it notes what clients should know of the document.

    `scans`: pages of which the text, if there is any, can only be seen. OCR reads them (functions/ingest/scans.py).
    """

    name: str
    max_inflated_bytes: int
    max_pages: int
    max_characters: int
    # Nothing is decoded by whoever is not told how large it may be.
    max_image_pixels: int = 0
    # Of what has members: the largest of them, the files that are looked at, and what is left of the budgets of the
    # outermost archive: how deep it may go on, how many documents and bytes it may still become.
    max_document_bytes: int = 0
    max_archive_entries: int = 0
    member_levels: int = 0
    max_members: int = 0
    max_members_bytes: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    scans: list[int] = field(default_factory=list)

    def note(self, **details: Any) -> None:
        """Add to the details of EXTRACT_TEXT, which clients see."""
        self.details.update(details)

    def scan(self, number: int) -> None:
        """Leave this page to OCR. To be said before the page is yielded, which then comes with what text it has."""
        self.scans.append(number)

    def demand(self, *, pages: int = 0, characters: int = 0) -> None:
        """Raise `Rejected` (TOO_MANY_PAGES, TEXT_TOO_LONG) if a document has more than it may have."""
        if pages > self.max_pages:
            raise Rejected(
                f"{self.name} has more than the {self.max_pages:,} pages that one document may have "
                "(BRIGADE_MAX_PAGES).",
                code="TOO_MANY_PAGES",
            )
        if characters > self.max_characters:
            raise Rejected(
                f"{self.name} has more than the {self.max_characters:,} characters of text that one document may have "
                "(BRIGADE_MAX_CHARACTERS).",
                code="TEXT_TOO_LONG",
            )


class Extractor(Protocol):
    """`path`: the document, as it came. Yields at least one page, or raises `Rejected` naming what a person can do."""

    def __call__(self, path: Path, options: Options) -> Iterator[Page]: ...
