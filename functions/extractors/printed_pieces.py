"""A printed page as pieces, in the order of reading: headings, paragraphs, items, rows, code; with their places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from common.records import Box, Kind, Line
from functions.extractors.pdf_headings import Headings, look_of
from functions.extractors.pdf_tables import Table, with_tables
from functions.extractors.printed import Layout, Print, union
from functions.extractors.reading_order import Item, is_contradicted, reading_order
from functions.pieces import Piece

# Running heads and page numbers stand in these shares of a page's height, and are set first or last.
_MARGIN = 0.08
# Bullets of symbol fonts, which have no character of their own.
_SYMBOLS = dict.fromkeys(map(ord, "\uf0b7\uf0a7\uf076\uf0d8\uf0a8\uf06e\uf071\uf0fc\uf02d"), "•")
_BULLET = re.compile(r"[-*+•‣◦▪–·●○■□◆►]\s")
_NUMBER = re.compile(
    r"(?:\(?\d{1,3}[.)](?=\s)|\d{1,3}、|[（(][一二三四五六七八九十\d]{1,3}[)）]|[一二三四五六七八九十]{1,3}、)|\(?[a-zA-Z][.)]\s"
)
# In units of the font's size: how far lines of a paragraph are apart at most, base to base, and what fills a line.
_LEADING, _RAGGED, _INDENT = 2.1, 4.0, 0.8
# Sizes that OCR measures differ by so much of them within a paragraph.
_ALIKE = 0.2
# In units of the font's size, of code.
_CODE_LEADING, _BLANK_LINE = 3.5, 1.9
_MONO_WIDTH, _MOST_INDENT = 0.6, 40


@dataclass(slots=True)
class Group:
    """Lines that are one piece. `level`: of a heading."""

    kind: Kind
    prints: list[Print]
    level: int = 0

    @property
    def first(self) -> Print:
        return self.prints[0]

    @property
    def last(self) -> Print:
        return self.prints[-1]


def pieces(number: int, layout: Layout, headings: Headings) -> Iterator[Piece]:
    """The pieces of page `number`."""
    return composed(number, _in_order(with_tables(layout), layout.height), headings)


def composed(number: int, parts: Iterable[list[Print] | Table], headings: Headings) -> Iterator[Piece]:
    """The same of parts that are in the order of reading."""
    groups: list[Group | Table] = []
    for part in parts:
        if isinstance(part, Table):
            groups.append(part)
            continue
        for group in _groups(number, part, headings):
            last = groups[-1] if groups else None
            if isinstance(last, Group) and _goes_on(last, group):
                last.prints += group.prints
            else:
                groups.append(group)
    for group_or_table in groups:
        if isinstance(group_or_table, Table):
            yield from group_or_table.pieces()
        else:
            yield from _pieces(group_or_table)


def _in_order(parts: list[list[Print] | Table], height: float) -> list[list[Print] | Table]:
    """As they were set, unless where they stand contradicts it."""
    boxes = [part.box if isinstance(part, Table) else union(one.box for one in part) for part in parts]
    if not is_contradicted(boxes):
        return parts
    indexes = range(len(parts))
    top = [one for one in indexes if boxes[one][3] < _MARGIN * height]
    bottom = [one for one in indexes if boxes[one][1] > (1 - _MARGIN) * height]
    sideways = [one for one in indexes if _is_sideways(parts[one], boxes[one])]
    apart = {*top, *bottom, *sideways}
    body = [one for one in indexes if one not in apart]
    if is_contradicted([boxes[one] for one in body]):
        ordered = reading_order([_item(parts[one], boxes[one]) for one in body])
        body = [body[one] for one in ordered]
    for margin in (top, bottom):
        margin.sort(key=lambda one: (round(boxes[one][1]), boxes[one][0]))
    order = [*top, *body, *bottom, *(one for one in sideways if one not in {*top, *bottom})]
    return [parts[one] for one in order]


def _is_sideways(part: list[Print] | Table, box: Box) -> bool:
    return not isinstance(part, Table) and not any(one.upright for one in part) and box[3] - box[1] > box[2] - box[0]


def _item(part: list[Print] | Table, box: Box) -> Item:
    prints = part.prints if isinstance(part, Table) else part
    return Item(box, max(sum(one.size for one in prints) / len(prints), 1.0), len(prints))


def _groups(number: int, prints: Sequence[Print], headings: Headings) -> Iterator[Group]:
    """The pieces within a block."""
    if headings.typewritten:
        prints = [one._replace(mono=False) for one in prints]
    for run in _runs(prints, headings.body):
        if run[0].mono:
            yield Group("verbatim", run)
        elif level := headings.level(number, run):
            yield Group("heading", run, level)
        else:
            yield from _text_groups(run)


def _runs(prints: Sequence[Print], body: float) -> Iterator[list[Print]]:
    """Lines that look alike: the text's size is one look, bold or not, unless all of a line is bold."""
    run: list[Print] = []
    for one in prints:
        if run and (one.mono != run[-1].mono or (not one.mono and _differ(run[-1], one, body))):
            yield run
            run = []
        run.append(one)
    yield run


def _differ(one: Print, other: Print, body: float) -> bool:
    look, next_look = look_of(one), look_of(other)
    if look == next_look:
        return False
    return max(look[0], next_look[0]) > 1.1 * body or look[1] != next_look[1]


def _text_groups(prints: Sequence[Print]) -> Iterator[Group]:
    left = min(one.box[0] for one in prints)
    group: Group | None = None
    for one in prints:
        kind = _kind(one)
        begins = group is None or kind == "row" or group.kind == "row"
        if group is not None and not begins:
            begins = kind == "item" and _begins_item(group, one)
            begins = begins or (group.kind == "paragraph" and _is_indented(one, group.last, left))
        if begins:
            if group is not None:
                yield group
            group = Group(kind, [one])
        elif group is not None:
            group.prints.append(one)
    if group is not None:
        yield group


def _kind(one: Print) -> Kind:
    if "\t" in one.text:
        return "row"
    text = one.text.lstrip().translate(_SYMBOLS)
    return "item" if _BULLET.match(text) or _NUMBER.match(text) else "paragraph"


def _begins_item(group: Group, one: Print) -> bool:
    # Within a paragraph, a number may only happen to begin a line.
    return group.kind == "item" or bool(_BULLET.match(one.text.lstrip().translate(_SYMBOLS)))


def _is_indented(one: Print, previous: Print, left: float) -> bool:
    """Whether a line's indent begins a paragraph: those before it begin at the block's edge."""
    return one.box[0] - left > _INDENT * one.size and previous.box[0] - left < _INDENT * one.size / 2


def _goes_on(group: Group, other: Group) -> bool:
    """Whether a block is the rest of the one before: wide leading makes each line a block of its own."""
    if group.kind == "verbatim" and other.kind == "verbatim":
        return 0 < _apart(group, other) < _CODE_LEADING
    if group.kind == "heading" and other.kind == "heading":
        return group.level == other.level and look_of(group.last) == look_of(other.first) and _is_next(group, other)
    if group.kind not in ("paragraph", "item") or other.kind != "paragraph" or not _is_next(group, other):
        return False
    alike = abs(group.last.size - other.first.size) < _ALIKE * group.last.size
    return alike and _is_full(group, other)


def _apart(group: Group, other: Group) -> float:
    """From base to base, in units of the font's size."""
    return (other.first.box[3] - group.last.box[3]) / max(group.last.size, 1.0)


def _is_next(group: Group, other: Group) -> bool:
    below = 0 < _apart(group, other) < _LEADING
    return below and other.first.box[0] < group.last.box[2] and group.last.box[0] < other.first.box[2]


def _is_full(group: Group, other: Group) -> bool:
    """Whether the last line had no room for more, and the next does not begin something new by its indent."""
    left = min(one.box[0] for one in group.prints)
    right = max(one.box[2] for one in (*group.prints, *other.prints))
    size = group.last.size
    hangs = group.kind == "item" or other.first.box[0] - left < _INDENT * size
    return hangs and right - group.last.box[2] < _RAGGED * size


def _pieces(group: Group) -> Iterator[Piece]:
    if group.kind == "verbatim":
        yield _verbatim(group.prints)
    elif group.kind == "row":
        for one in group.prints:
            yield piece([(one.text.strip(), one.box)], "row")
    else:
        lines = [(one.text.strip(), one.box) for one in group.prints]
        if group.kind == "item":
            lines[0] = (lines[0][0].translate(_SYMBOLS), lines[0][1])
        yield piece(lines, group.kind, group.level)


def piece(lines: Iterable[tuple[str, Box]], kind: Kind, level: int = 0) -> Piece:
    """The piece that these lines are, each with its box."""
    texts: list[str] = []
    places: list[Line] = []
    length = 0
    for text, box in lines:
        places.append(Line(length, box))
        texts.append(text)
        length += len(text) + 1
    return Piece("\n".join(texts), kind, level, tuple(places))


def _verbatim(prints: Sequence[Print]) -> Piece:
    """Code, indented as it was: where a line begins says how far."""
    left = min(one.box[0] for one in prints)
    lines: list[tuple[str, Box]] = []
    bottom = prints[0].box[3]
    for one in prints:
        size = max(one.size, 1.0)
        blank = "\n" if lines and one.box[3] - bottom > _BLANK_LINE * size else ""
        indent = " " * min(round((one.box[0] - left) / (_MONO_WIDTH * size)), _MOST_INDENT)
        lines.append((f"{blank}{indent}{one.text.rstrip()}", one.box))
        bottom = one.box[3]
    return piece(lines, "verbatim")
