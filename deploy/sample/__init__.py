"""The sample document of `brigade up`: a small bilingual PDF with pages, made here, the same bytes at every time."""

from __future__ import annotations

import re
from pathlib import Path

import pymupdf

NAME = "bucket-brigade.pdf"
QUESTIONS = ("What happens when a worker dies in the middle of a step?", "北宋开封的救火队伍叫什么？")

_TEXT = Path(__file__).with_name("bucket-brigade.html")
# The shaper joins "fi" to one code point, which no search would find; CSS cannot forbid it, a boundary can.
_LIGATURE = re.compile("f(?=[fil])")
_PAGE_BREAK = "<hr/>"
_A4 = pymupdf.paper_rect("a4")
_MARGIN_POINTS = 64
_CSS = """
body { font-family: sans-serif; font-size: 12pt; line-height: 1.6; }
h1 { font-size: 20pt; color: #9a3412; }
"""


def sample_pdf() -> bytes:
    """The sample as PDF: one page for each part of its text, Chinese glyphs from PyMuPDF's own font."""
    pages = _TEXT.read_text(encoding="utf-8").split(_PAGE_BREAK)
    margins = pymupdf.Rect(_MARGIN_POINTS, _MARGIN_POINTS, -_MARGIN_POINTS, -_MARGIN_POINTS)
    frame = _A4 + margins
    with pymupdf.open() as document:
        for html in pages:
            page = document.new_page(width=_A4.width, height=_A4.height)
            page.insert_htmlbox(frame, _LIGATURE.sub("<span>f</span>", html), css=_CSS)
        document.set_metadata({"title": "Bucket brigade · 水桶接力"})
        document.subset_fonts()
        return bytes(document.tobytes(garbage=4, deflate=True, no_new_id=True))
