"""Markdown by markdown-it-py: CommonMark with tables; the text without its marks, but for those of lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from common.records import Page
from functions.extractors import Options
from functions.extractors.tables import Row, with_tables
from functions.extractors.text import decode_all
from functions.pieces import Piece, in_records

_parser = MarkdownIt("commonmark").enable("table")
_VERBATIM = frozenset(("fence", "code_block"))
_TAGS = re.compile(r"<[^<>]*+>")
# What static sites put first: keys and values between dashes, or pluses.
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n((?:[^\n]*\n){0,200}?)\1[ \t]*(?:\n|\Z)")
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+)$", re.MULTILINE)


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page: headings, list items, table rows, code and paragraphs. Notes the title of front matter."""
    text = decode_all(path.read_bytes(), options)
    yield from in_records(_pieces(text, options))


def _pieces(text: str, options: Options) -> Iterator[Piece]:
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        if named := _TITLE.search(front[2]):
            title = named[1].strip().strip("\"'")
            options.note(title=title)
            yield Piece(title, "heading", 1)
        yield Piece(_block(front[2]), "verbatim")
    yield from with_tables(_Reader().items(_parser.parse(text)))


class _Reader:
    """What is open while a document's tokens are read."""

    def __init__(self) -> None:
        # Of each list the number of its next item; None where it has only dashes.
        self._lists: list[int | None] = []
        # What a list item begins with, until its first text comes.
        self._mark = ""
        self._heading = self._tables = 0
        self._cells: list[str] = []
        self._in_cell = False

    def items(self, tokens: Iterable[Token]) -> Iterator[Piece | Row]:
        for token in tokens:
            if token.type == "inline":
                yield from self._text(_block("".join(map(_inline, token.children or ()))))
            elif token.type in _VERBATIM:
                yield Piece(token.content.rstrip(), "verbatim")
            elif token.type == "html_block":
                yield Piece(_block(_TAGS.sub("", token.content)))
            elif token.type == "tr_close":
                # Markdown's tables have a header each.
                yield Row(self._tables, self._cells, is_header=True)
                self._cells = []
            else:
                self._pass(token, opens=token.nesting == 1)

    def _text(self, text: str) -> Iterator[Piece]:
        if self._in_cell:
            self._cells.append(text)
        elif self._heading:
            yield Piece(" ".join(text.split("\n")), "heading", self._heading)
        elif text:
            yield Piece(self._mark + text, "item" if self._mark else "paragraph")
            self._mark = ""

    def _pass(self, token: Token, *, opens: bool) -> None:
        """Into a block, or out of it."""
        match token.type.rpartition("_")[0]:
            case "heading":
                self._heading = int(token.tag[1]) if opens else 0
            case "bullet_list" | "ordered_list" if opens:
                self._lists.append(int(token.attrs.get("start", 1)) if token.tag == "ol" else None)
            case "bullet_list" | "ordered_list":
                self._lists.pop()
            case "list_item":
                self._mark = self._next_mark() if opens else ""
            case "table" if opens:
                self._tables += 1
            case "td" | "th":
                self._in_cell = opens

    def _next_mark(self) -> str:
        count = self._lists[-1]
        if count is None:
            return "- "
        self._lists[-1] = count + 1
        return f"{count}. "


def _inline(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    if token.type in ("text", "code_inline", "image", "text_special"):
        # An image's content is what it shows, for those who do not see it.
        return token.content
    return ""


def _block(text: str) -> str:
    """Without white space around its lines, and without empty ones."""
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))
