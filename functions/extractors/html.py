"""HTML by lexbor: what a reader would read, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from common.records import Page
from functions.extractors import Options, html_tables
from functions.extractors.tables import Row, with_tables
from functions.extractors.text import decode_all
from functions.pieces import Piece, in_records

# Not text, or not this page's own.
_NOISE = (
    "script, style, noscript, template, svg, math, iframe, object, canvas, audio, video, select, button, "
    "nav, footer, dialog, [hidden], [aria-hidden=true], [role=navigation], [role=search], [role=contentinfo], "
    "a.headerlink"  # the sign behind a heading of Sphinx, Docutils and MkDocs that links to it
)
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "form", "header", "hr", "legend", "li", "main", "ol", "optgroup"),
        *("option", "p", "search", "section", "summary", "table", "td", "th", "tr", "ul"),
    )
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset(("ul", "ol", "menu"))
_VERBATIM = frozenset(("pre", "textarea", "listing", "xmp"))
_DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 4096
# In XHTML these may be empty in short; HTML's readers take all that follows for their content.
_XHTML = "http://www.w3.org/1999/xhtml"
_EMPTY = re.compile(r"<(title|script|style|textarea|iframe|noscript)\b([^<>]*)/>", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\n\r\f]+")
_BREAK = "\n"


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page: the title, then the body's blocks."""
    data = path.read_bytes()
    text = decoded(data, options)
    del data
    title, pieces = read(text)
    if title:
        options.note(title=title)
    yield from in_records(_titled(title, pieces))


def decoded(data: bytes, options: Options) -> str:
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    return decode_all(data, options, label=found[1].decode() if found else None)


def read(text: str) -> tuple[str, Iterator[Piece]]:
    """A page's title, and the pieces of its body."""
    if _XHTML in text[:_DECLARED_WITHIN]:
        text = _EMPTY.sub(r"<\1\2></\1>", text)
    tree = LexborHTMLParser(text)
    for node in tree.css(_NOISE):
        node.decompose()
    title_node = tree.css_first("head > title")
    title = _SPACES.sub(" ", title_node.text()).strip() if title_node else ""
    return title, _pieces(tree)


def _pieces(tree: LexborHTMLParser) -> Iterator[Piece]:
    # The tree lives as long as its nodes are read.
    if tree.body is not None:
        yield from with_tables(_Reader().items(tree.body))


def _titled(title: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    first = next(pieces, None)
    if title and not (first and first.text.startswith(title)):
        yield Piece(title, "heading", 1)
    if first:
        yield first
        yield from pieces


class _Reader:
    """Depth first without recursion: a hostile page nests deeper than Python's stack."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        # What a list item begins with, until its first text comes.
        self._mark = ""
        self._headings: list[int] = []
        # Of each open list the number of its next item; None where it has only dashes.
        self._lists: list[int | None] = []
        self._tables = 0

    def items(self, root: LexborNode) -> Iterator[Piece | Row]:
        stack: list[tuple[LexborNode, bool]] = [(root, True)]
        while stack:
            node, opens = stack.pop()
            tag = node.tag or ""
            if tag == "-text":
                self._parts.append(_SPACES.sub(" ", node.text_content or ""))
            elif tag == "br":
                self._parts.append(_BREAK)
            elif tag in _VERBATIM:
                yield from self._ended()
                if code := _code(node.text()):
                    yield Piece(code, "verbatim")
            elif tag == "table" and opens and html_tables.is_data(node):
                yield from self._ended()
                yield Piece(html_tables.caption(node))
                self._tables += 1
                yield from html_tables.rows(node, self._tables)
            else:
                if tag in _BLOCKS or tag in _HEADINGS or tag in _LISTS:
                    yield from self._ended()
                    self._pass(node, tag, opens)
                if opens:
                    stack.append((node, False))
                    stack.extend((child, True) for child in reversed(list(node.iter(include_text=True))))

    def _ended(self) -> Iterator[Piece]:
        """The block that the text so far is, if there is any."""
        text = html_tables.tidied("".join(self._parts))
        self._parts.clear()
        if not text:
            return
        if self._headings:
            yield Piece(" ".join(text.split("\n")), "heading", self._headings[-1])
        elif self._mark:
            yield Piece(self._mark + text, "item")
        else:
            yield Piece(text)
        self._mark = ""

    def _pass(self, node: LexborNode, tag: str, opens: bool) -> None:
        """Into a block, or out of it."""
        if tag in _HEADINGS:
            if opens:
                self._headings.append(_HEADINGS[tag])
            else:
                self._headings.pop()
        elif tag in _LISTS:
            if opens:
                self._lists.append(html_tables.number(node, "start", 1) if tag == "ol" else None)
            else:
                self._lists.pop()
        elif tag == "li":
            self._mark = self._next_mark(node) if opens else ""

    def _next_mark(self, node: LexborNode) -> str:
        count = self._lists[-1] if self._lists else None
        if count is None:
            return "- "
        count = html_tables.number(node, "value", count)
        self._lists[-1] = count + 1
        return f"{count}. "


def _code(text: str) -> str:
    # The newline after <pre> is none of it.
    return text.removeprefix("\n").rstrip()
