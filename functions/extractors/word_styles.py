"""What a paragraph of a Word document is: by its own properties, its style's, and those that the style is based on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from zipfile import ZipFile

from lxml import etree

from common.records import Kind
from functions.extractors import packages
from functions.pieces import RECORD_CHARACTERS, Piece

_DEEPEST = 6
# Level 9 is body text (ECMA-376 part 1, 17.3.1.20).
_BODY = 9
# Where no outline level is given, names tell. `w:name` is English in Word's files, ids are as localised as others'.
_HEADING = re.compile(
    r"(?:heading|überschrift|berschrift|titre|título|ttulo|titolo|kop|rubrik|nagłówek|nagwek|заголовок|标题|標題|見出し|제목)"
    r"\s*([1-9])",
    re.IGNORECASE,
)
_TITLES = frozenset(("title", "titel"))
_CODE = re.compile(r"\b(?:source ?code|code|preformatted|macro)\b", re.IGNORECASE)
_LONGEST_CHAIN = 20
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_ROMAN_LIMIT = 4000


@dataclass(frozen=True, slots=True)
class Look:
    """What a paragraph is; `mark` stands before its text, as a list's dash or a heading's number."""

    kind: Kind = "paragraph"
    level: int = 0
    mark: str = ""


@dataclass(slots=True)
class _Style:
    name: str = ""
    based_on: str = ""
    outline: int | None = None
    list_id: str | None = None
    list_level: int | None = None


@dataclass(frozen=True, slots=True)
class _Level:
    form: str = "decimal"
    text: str = "%1."
    start: int = 1


@dataclass(slots=True)
class Looks:
    """The document's styles and lists, and how far its lists have counted."""

    _styles: dict[str, _Style] = field(default_factory=dict)
    _lists: dict[str, str] = field(default_factory=dict)
    _levels: dict[tuple[str, int], _Level] = field(default_factory=dict)
    _counts: dict[tuple[str, int], int] = field(default_factory=dict)
    _known: dict[str, _Style] = field(default_factory=dict)

    @classmethod
    def read(cls, archive: ZipFile, styles: str | None, numbering: str | None) -> Looks:
        looks = cls()
        if styles:
            with archive.open(styles) as file:
                for _, element in packages.elements(file, "{*}style", starts=False):
                    looks._styles[packages.attribute(element, "styleId") or ""] = _style(element)
                    packages.forget(element)
        if numbering:
            with archive.open(numbering) as file:
                for _, element in packages.elements(file, "{*}abstractNum", "{*}num", starts=False):
                    looks._add_list(element)
                    packages.forget(element)
        return looks

    def of(self, style_id: str, outline: int | None, list_id: str | None, list_level: int | None) -> Look:
        """What a paragraph with that style and these properties of its own is. Lists count on with each call."""
        style = self._resolved(style_id)
        outline = style.outline if outline is None else outline
        chosen = style.list_id if list_id is None else list_id
        depth = (style.list_level if list_level is None else list_level) or 0
        # "0" takes a paragraph out of its style's list.
        mark = self._mark(chosen, min(depth, 8)) if chosen and chosen != "0" else ""
        if outline is not None and outline < _BODY:
            return Look("heading", min(outline + 1, _DEEPEST), mark)
        if _CODE.search(style.name):
            return Look("verbatim")
        return Look("item", mark=mark) if mark else Look()

    def _resolved(self, style_id: str) -> _Style:
        """The style with what it takes over from those that it is based on."""
        if (known := self._known.get(style_id)) is not None:
            return known
        own = self._styles.get(style_id) or _Style(name=style_id)
        style, base = replace(own), own.based_on
        if style.outline is None:
            style.outline = outline_by_name(own.name) if own.name else None
        for _ in range(_LONGEST_CHAIN):
            if (above := self._styles.get(base)) is None:
                break
            if style.outline is None:
                style.outline = above.outline if above.outline is not None else outline_by_name(above.name)
            if style.list_id is None:
                style.list_id = above.list_id
            if style.list_level is None:
                style.list_level = above.list_level
            base = above.based_on
        self._known[style_id] = style
        return style

    def _add_list(self, element: etree._Element) -> None:
        if packages.local(element) == "num":
            of = element.find("{*}abstractNumId")
            if of is not None:
                self._lists[packages.attribute(element, "numId") or ""] = packages.attribute(of, "val") or ""
            return
        abstract = packages.attribute(element, "abstractNumId") or ""
        for level in element.iterfind("{*}lvl"):
            given = {packages.local(child): packages.attribute(child, "val") or "" for child in level}
            self._levels[abstract, _digits(packages.attribute(level, "ilvl")) or 0] = _Level(
                given.get("numFmt", "decimal"), given.get("lvlText", ""), _digits(given.get("start", "1")) or 0
            )

    def _mark(self, list_id: str, depth: int) -> str:
        abstract = self._lists.get(list_id)
        level = self._levels.get((abstract or "", depth))
        if abstract is None or level is None or level.form == "bullet":
            return "- "
        if level.form == "none":
            return ""
        self._counts[abstract, depth] = self._counts.get((abstract, depth), level.start - 1) + 1
        for deeper in range(depth + 1, 9):
            self._counts.pop((abstract, deeper), None)

        def count(found: re.Match[str]) -> str:
            at = int(found[1]) - 1
            of = self._levels.get((abstract, at), _Level())
            return _counted(self._counts.get((abstract, at), of.start), of.form)

        text = re.sub("%([1-9])", count, level.text[:40]).strip()
        return f"{text} " if text else ""


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces, with lines of code that are paragraphs of their own put together."""
    lines: list[str] = []
    length = 0
    for piece in pieces:
        if lines and (piece.kind != "verbatim" or length + len(piece.text) > RECORD_CHARACTERS):
            yield Piece("\n".join(lines), "verbatim")
            lines, length = [], 0
        if piece.kind == "verbatim":
            lines.append(piece.text)
            length += len(piece.text) + 1
        else:
            yield piece
    if lines:
        yield Piece("\n".join(lines), "verbatim")


def _style(element: etree._Element) -> _Style:
    style = _Style()
    for child in element.iter("{*}name", "{*}basedOn", "{*}outlineLvl", "{*}numId", "{*}ilvl"):
        value = packages.attribute(child, "val") or ""
        match packages.local(child):
            case "name":
                style.name = value
            case "basedOn":
                style.based_on = value
            case "outlineLvl":
                style.outline = _digits(value)
            case "numId":
                style.list_id = value
            case _:
                style.list_level = _digits(value)
    return style


def outline_by_name(name: str) -> int | None:
    """The outline level, counted from 0, that a style's name tells."""
    if found := _HEADING.fullmatch(name.strip()):
        return int(found[1]) - 1
    return 0 if name.strip().lower() in _TITLES else None


def _digits(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else None


def _counted(number: int, form: str) -> str:
    """A number as lists write it; in decimals where that is not known here."""
    if form in ("lowerLetter", "upperLetter"):
        # After z comes aa, then bb.
        letters = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 9)
        return letters if form == "lowerLetter" else letters.upper()
    if form in ("lowerRoman", "upperRoman") and 0 < number < _ROMAN_LIMIT:
        letters = ""
        for value, letter in _ROMAN:
            letters += letter * (number // value)
            number %= value
        return letters if form == "lowerRoman" else letters.upper()
    return str(number)
