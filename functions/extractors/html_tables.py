"""Tables of HTML: which of them hold data, and their rows, each cell in all the columns and rows that it spans."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborNode

from functions.extractors.tables import MAX_SPAN, Row

# A cell with more, with a heading or with a table is there for layout, and may hold half the page.
_CELL_CHARACTERS = 500
_LAYOUT = frozenset(("table", "h1", "h2", "h3", "h4", "h5", "h6"))
_CELLS = frozenset(("td", "th"))
_INLINE = frozenset(
    (
        *(
            "-text",
            "a",
            "abbr",
            "acronym",
            "b",
            "bdi",
            "bdo",
            "big",
            "cite",
            "code",
            "data",
            "del",
            "dfn",
            "em",
            "font",
        ),
        *("i", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time"),
        *("tt", "u", "var", "wbr"),
    )
)
# What a cell that spans rows is repeated in: a hostile table has a line of them and then nothing but rows.
_MAX_ROWS, _MAX_COLUMNS = 1000, 64
_SPACES = re.compile(r" {2,}")


def is_data(table: LexborNode) -> bool:
    """Looked through no further than to what makes it layout: tables lie in tables lie in tables."""
    stack = list(table.iter(include_text=True))
    length = 0
    while stack:
        node = stack.pop()
        if node.tag == "-text":
            length += len(" ".join((node.text_content or "").split()))
            if length > _CELL_CHARACTERS:
                return False
        elif node.tag in _LAYOUT:
            return False
        else:
            if node.tag in _CELLS:
                length = 0
            stack.extend(reversed(list(node.iter(include_text=True))))
    return True


def caption(table: LexborNode) -> str:
    found = table.css_first("caption")
    return _line(found) if found else ""


def rows(table: LexborNode, number: int) -> Iterator[Row]:
    """The table's rows under that number, those that it has for headers made one."""
    headers: list[list[str]] = []
    is_head = True
    spanning: dict[int, tuple[str, int]] = {}
    for line in table.css("tr"):
        cells = [cell for cell in line.iter() if cell.tag in _CELLS]
        in_head = line.parent is not None and line.parent.tag == "thead"
        is_head = is_head and bool(cells) and (in_head or all(cell.tag == "th" for cell in cells))
        texts = _texts(cells, spanning, repeated=is_head)
        if is_head:
            headers.append(texts)
            continue
        if headers:
            yield Row(number, _merged(headers), is_header=True)
            headers.clear()
        yield Row(number, texts)
    if headers:
        yield Row(number, _merged(headers), is_header=True)


def _texts(cells: list[LexborNode], spanning: dict[int, tuple[str, int]], *, repeated: bool) -> list[str]:
    """The row's cells by column; those that span columns are told in the first alone, unless `repeated`."""
    texts: list[str] = []

    def fill() -> None:
        while (above := spanning.get(len(texts))) is not None:
            if above[1] == 1:
                del spanning[len(texts)]
            else:
                spanning[len(texts)] = above[0], above[1] - 1
            texts.append(above[0])

    for cell in cells:
        fill()
        text = _line(cell)
        columns = min(max(number(cell, "colspan", 1), 1), MAX_SPAN)
        more = min(number(cell, "rowspan", 1), _MAX_ROWS) - 1
        for column in range(columns):
            value = text if repeated or column == 0 else ""
            if more > 0 and len(texts) < _MAX_COLUMNS:
                spanning[len(texts)] = value, more
            texts.append(value)
    fill()
    return texts


def _merged(headers: list[list[str]]) -> list[str]:
    """One header of several: in each column what they say, from above, once."""
    width = max(map(len, headers))
    columns = ([row[at] for row in headers if at < len(row) and row[at]] for at in range(width))
    return [" ".join(dict.fromkeys(column)) for column in columns]


def _line(cell: LexborNode) -> str:
    """All that a cell holds, on one line."""
    parts: list[str] = []
    stack: list[LexborNode | None] = [cell]
    while stack:
        node = stack.pop()
        if node is None:
            parts.append(" ")
        elif node.tag == "-text":
            parts.append(node.text_content or "")
        else:
            if node.tag not in _INLINE:
                parts.append(" ")
                stack.append(None)
            stack.extend(reversed(list(node.iter(include_text=True))))
    return " ".join("".join(parts).split())


def tidied(text: str) -> str:
    """Lines without white space around them, and without the empty ones."""
    lines = (_SPACES.sub(" ", line.strip(" ")) for line in text.split("\n"))
    return "\n".join(filter(None, lines))


def number(node: LexborNode, name: str, default: int) -> int:
    """An attribute that is a number of at most nine digits."""
    value = (node.attributes.get(name) or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else default
