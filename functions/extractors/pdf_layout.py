"""What MuPDF finds on a page: lines of print with their look, block by block, and the rules that are drawn there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import pymupdf

from common.records import Box
from functions.extractors.printed import Layout, Print

# Ligatures come apart, text outside the page stays out, and lines that are drawn come with the text.
FLAGS = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP
RULED_FLAGS = FLAGS | pymupdf.TEXT_COLLECT_VECTORS
_TEXT, _VECTOR = 0, 3
# Points: what is thinner is a line, what is shorter is a dot.
_RULE_THICKNESS, _RULE_LENGTH = 3.0, 6.0
# A page with more is a drawing.
_MOST_RULES = 1500
# Fonts that do not say of themselves that all their letters are as wide.
_MONO = re.compile(r"mono|courier|consol|typewriter|menlo|cmtt|inconsolata|code(?!c)", re.IGNORECASE)


def layout(page: pymupdf.Page, *, ruled: bool) -> Layout:
    """The page as it is seen: turned as it says, from its crop box's corner. Rules only where `ruled`."""
    found = page.get_text("dict", flags=RULED_FLAGS if ruled else FLAGS)
    turned = page.rotation_matrix if page.rotation else None
    result = Layout(height=page.rect.height)
    for block in found["blocks"]:
        kind = block["type"]
        if kind == _TEXT:
            if prints := list(_prints(block["lines"], turned)):
                result.blocks.append(prints)
        elif kind == _VECTOR:
            result.vectors += 1
            if result.vectors <= _MOST_RULES:
                result.rules += _rules(block) if turned is None else (_turned(rule, turned) for rule in _rules(block))
    if result.vectors > _MOST_RULES:
        result.rules.clear()
    return result


def _prints(lines: Iterable[dict[str, Any]], turned: pymupdf.Matrix | None) -> Iterator[Print]:
    for line in lines:
        texts: list[str] = []
        bold = mono = True
        size = most = 0
        # The innermost loop of all that PDFs take: three hundred times a page.
        for span in line["spans"]:
            text = span["text"]
            texts.append(text)
            if not text.isspace():
                flags = span["flags"]
                bold = bold and flags & pymupdf.TEXT_FONT_BOLD
                mono = mono and (flags & pymupdf.TEXT_FONT_MONOSPACED or _is_mono(span["font"]))
                if len(text) > most:
                    most, size = len(text), span["size"]
        if not most:
            continue
        text = texts[0] if len(texts) == 1 else "".join(texts)
        if "\t" in text:
            text = text.replace("\t", " ")
        across, down = line["dir"]
        if turned is None:
            yield Print(text, line["bbox"], size, bool(bold), bool(mono), abs(across) > 0.5)
        else:
            across = across * turned.a + down * turned.c
            yield Print(text, _turned(line["bbox"], turned), size, bool(bold), bool(mono), abs(across) > 0.5)


@lru_cache(maxsize=256)
def _is_mono(font: str) -> bool:
    return _MONO.search(font) is not None


def _rules(vector: dict[str, Any]) -> Sequence[Box]:
    """The line that is drawn, or the four edges of a box."""
    left, top, right, bottom = box = vector["bbox"]
    if min(right - left, bottom - top) <= _RULE_THICKNESS:
        return (box,) if max(right - left, bottom - top) >= _RULE_LENGTH else ()
    if not (vector["stroked"] and vector["isrect"]):
        return ()
    across = (left, top, right, top), (left, bottom, right, bottom)
    return *across, (left, top, left, bottom), (right, top, right, bottom)


def _turned(box: Box, turned: pymupdf.Matrix) -> Box:
    rect = pymupdf.Rect(box) * turned
    return rect.x0, rect.y0, rect.x1, rect.y1
