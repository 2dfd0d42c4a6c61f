"""The text of OpenDocument's paragraphs, and what their styles say (OpenDocument 1.3, part 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO

from lxml import etree

from functions.extractors import packages

# What lies in a paragraph and is none of its text: notes, comments, boxes and how words are pronounced. Those that
# hold paragraphs are read as paragraphs of their own.
_BESIDE = frozenset(("note", "annotation", "ruby-text", "tracked-changes", "p", "h", "frame", "custom-shape"))
_SPACES = re.compile(r"[ \t\r\n]+")
_MOST = 1_000_000_000
_MOST_SPACES = 100
_LONGEST_CHAIN = 20


def text_of(paragraph: etree._Element) -> str:
    """A paragraph's own text; white space as OpenDocument has it, where runs of it are elements."""
    parts: list[str] = []
    stack: list[etree._Element | str] = [paragraph]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        inside = node is paragraph or packages.local(node) not in _BESIDE
        if node is not paragraph:
            stack.append(_flat(node.tail))
        if inside:
            parts.append(_mark(node) or _flat(node.text))
            # Comments and processing instructions have no name, and only what follows them is text.
            # Comments and processing instructions have no name.
            stack.extend(child if isinstance(child.tag, str) else _flat(child.tail) for child in reversed(node))
    return "".join(parts)


def _flat(text: str | None) -> str:
    return _SPACES.sub(" ", text) if text else ""


def _mark(node: etree._Element) -> str:
    match packages.local(node):
        case "s":
            return " " * min(count(node, "c"), _MOST_SPACES)
        case "tab":
            return "\t"
        case "line-break":
            return "\n"
    return ""


def count(element: etree._Element, name: str, default: int = 1) -> int:
    """An attribute that counts from 1."""
    value = packages.attribute(element, name) or ""
    return min(int(value), _MOST) or default if value.isascii() and value.isdigit() and len(value) < 12 else default


@dataclass(slots=True)
class Styles:
    """Which styles are based on which, and which levels of lists count."""

    _parents: dict[str, str] = field(default_factory=dict)
    _counting: set[tuple[str, int]] = field(default_factory=set)

    def read(self, file: IO[bytes]) -> None:
        """What a part declares, up to where its text begins."""
        for starts, element in packages.elements(file):
            name = packages.local(element)
            if starts and name in ("body", "master-styles"):
                return
            if starts:
                continue
            if name == "style":
                self._parents[_name(element)] = packages.attribute(element, "parent-style-name") or ""
            elif name == "list-level-style-number" and packages.attribute(element, "num-format"):
                parent = element.getparent()
                self._counting.add((_name(parent), count(element, "level")))

    def counts(self, style: str, level: int) -> bool:
        """Whether items of that list are numbered at that level, the highest being 1."""
        return (style, level) in self._counting

    def is_title(self, style: str) -> bool:
        return self._is_based_on(style, "Title")

    def is_code(self, style: str) -> bool:
        return self._is_based_on(style, "Preformatted_20_Text")

    def _is_based_on(self, style: str, wanted: str) -> bool:
        for _ in range(_LONGEST_CHAIN):
            if style == wanted or not style:
                break
            style = self._parents.get(style, "")
        return style == wanted


def _name(element: etree._Element) -> str:
    return packages.attribute(element, "name") or ""
