"""Markdown by markdown-it-py: CommonMark with tables; the text without its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from common.records import Page
from functions.extractors import Options
from functions.extractors.text import decode_all

_parser = MarkdownIt("commonmark").enable("table")
_VERBATIM = frozenset(("fence", "code_block"))
_TAGS = re.compile(r"<[^<>]*+>")


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page: blocks apart by empty lines, headings and list items as lines, a table's cells apart by tabs."""
    yield Page(1, _text_of(_parser.parse(decode_all(path.read_bytes(), options))))


def _text_of(tokens: list[Token]) -> str:
    parts: list[str] = []
    for token in tokens:
        if token.type == "inline":
            parts.append("".join(_inline(child) for child in token.children or ()))
        elif token.type in _VERBATIM:
            parts.append(token.content + "\n")
        elif token.type == "html_block":
            parts.append(_TAGS.sub("", token.content) + "\n")
        elif token.type in ("td_close", "th_close"):
            parts.append("\t")
        elif token.type == "tr_close" or (token.type == "paragraph_close" and token.hidden):
            parts.append("\n")
        elif token.type in (
            "paragraph_close",
            "heading_close",
            "table_close",
            "bullet_list_close",
            "ordered_list_close",
        ):
            parts.append("\n\n")
    # A run from its beginning only: from each of its characters takes the square of its length.
    text = re.sub(r"(?<![ \t])[ \t]++\n", "\n", "".join(parts))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _inline(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    if token.type in ("text", "code_inline", "image", "text_special"):
        # An image's content is what it shows, for those who do not see it.
        return token.content
    return ""
