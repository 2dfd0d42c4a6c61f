"""What MuPDF finds on a page: lines of print with their look, block by block, and the rules that are drawn there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
    result = Layout()
    for block in found["blocks"]:
        kind = block["type"]
        if kind == _TEXT:
            if prints := list(_prints(block["lines"], turned)):
                result.blocks.append(prints)
        elif kind == _VECTOR:
            result.vectors += 1
            if result.vectors <= _MOST_RULES:
                result.rules += (_turned(rule, turned) for rule in _rules(block))
    if result.vectors > _MOST_RULES:
        result.rules.clear()
    return result


def _prints(lines: Iterable[dict[str, Any]], turned: pymupdf.Matrix | None) -> Iterator[Print]:
    for line in lines:
        spans = line["spans"]
        text = spans[0]["text"] if len(spans) == 1 else "".join(span["text"] for span in spans)
        if not text or text.isspace():
            continue
        leading = spans[0]
        bold, mono = _look(leading)
        if len(spans) > 1:
            leading = max(spans, key=lambda span: len(span["text"]))
            looks = [_look(span) for span in spans if not span["text"].isspace()]
            bold, mono = all(bold for bold, _ in looks), all(mono for _, mono in looks)
        if "\t" in text:
            text = text.replace("\t", " ")
        box = line["bbox"] if turned is None else _turned(line["bbox"], turned)
        across = abs(line["dir"][0]) if turned is None else abs(line["dir"][0] * turned.a + line["dir"][1] * turned.c)
        yield Print(text, box, leading["size"], bold, mono, across > 0.5)


def _look(span: dict[str, Any]) -> tuple[bool, bool]:
    flags = span["flags"]
    return bool(flags & pymupdf.TEXT_FONT_BOLD), bool(flags & pymupdf.TEXT_FONT_MONOSPACED) or _is_mono(span["font"])


@lru_cache(maxsize=256)
def _is_mono(font: str) -> bool:
    return _MONO.search(font) is not None


def _rules(vector: dict[str, Any]) -> Iterator[Box]:
    """The line that is drawn, or the four edges of a box."""
    left, top, right, bottom = box = vector["bbox"]
    if min(right - left, bottom - top) <= _RULE_THICKNESS:
        if max(right - left, bottom - top) >= _RULE_LENGTH:
            yield box
    elif vector["stroked"] and vector["isrect"]:
        yield from ((left, top, right, top), (left, bottom, right, bottom))
        yield from ((left, top, left, bottom), (right, top, right, bottom))


def _turned(box: Box, turned: pymupdf.Matrix | None) -> Box:
    if turned is None:
        return box
    rect = pymupdf.Rect(box) * turned
    return rect.x0, rect.y0, rect.x1, rect.y1
