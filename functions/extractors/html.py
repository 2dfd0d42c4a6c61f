"""HTML by lexbor: what a reader would read, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from common.records import Page
from functions.extractors import Options
from functions.extractors.text import decode_all
from functions.pieces import Piece

# Not text, or not this page's own.
_NOISE = (
    "script, style, noscript, template, svg, math, iframe, object, canvas, audio, video, select, button, "
    "nav, footer, dialog, [hidden], [aria-hidden=true], [role=navigation], [role=search], [role=contentinfo]"
)
_PARAGRAPHS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "legend"),
        *("main", "ol", "p", "search", "section", "summary", "table", "ul"),
    )
)
_LINES = frozenset(("li", "tr", "option"))
_CELLS = frozenset(("td", "th"))
_CELL_CHARACTERS = 500
_DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 4096
_SPACES = re.compile(r"[ \t\n\r\f]+")


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page: the title, then the body's blocks apart by empty lines."""
    data = path.read_bytes()
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    tree = LexborHTMLParser(decode_all(data, options, label=found[1].decode() if found else None))
    del data
    if tree.body is None:
        yield Page(1, "")
        return
    for node in tree.css(_NOISE):
        node.decompose()
    title_node = tree.css_first("head > title")
    title = _SPACES.sub(" ", title_node.text()).strip() if title_node else ""
    text = _text_of(tree.body)
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}"
    if title:
        options.note(title=title)
    yield Page(1, text)


def read(text: str) -> tuple[str, Iterator[Piece]]:
    """A page's title, and the pieces of its body."""
    tree = LexborHTMLParser(text)
    for node in tree.css(_NOISE):
        node.decompose()
    title = tree.css_first("head > title")
    body = _text_of(tree.body) if tree.body else ""
    return title.text() if title else "", (Piece(part) for part in body.split("\n\n"))


def _text_of(root: LexborNode) -> str:
    """Depth first without recursion: a hostile page nests deeper than Python's stack."""
    parts: list[str] = []
    stack: list[LexborNode | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        tag = node.tag or ""
        if tag == "-text":
            parts.append(_SPACES.sub(" ", node.text_content or ""))
        elif tag == "br":
            parts.append("\n")
        elif tag in ("pre", "textarea"):
            parts += ("\n\n", node.text(), "\n\n")
        elif tag in _CELLS and (cell := _cell(node)) is not None:
            parts += (cell, "\t")
        else:
            around = "\n\n" if tag in _PARAGRAPHS else "\n" if tag in _LINES else ""
            parts.append(around)
            stack.append(around)
            stack.extend(reversed(list(node.iter(include_text=True))))
    return _tidied("".join(parts))


def _cell(node: LexborNode) -> str | None:
    """A cell's text on one line; None for a cell that is there for layout and holds half the page."""
    if node.css_first("table") is not None:
        return None
    text = " ".join(node.text(separator=" ").split())
    return text if len(text) <= _CELL_CHARACTERS else None


def _tidied(text: str) -> str:
    # A run from its beginning only: from each of its characters takes the square of its length.
    text = re.sub(r"(?<![ \t])[ \t]++(?=\n)|(?<=\n) ", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
