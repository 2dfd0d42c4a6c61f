"""Text as a reader sees it: each rule is a function from text to text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from common.records import Line
from functions.pieces import Piece, rewritten

_NEWLINES = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028]")
_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_SOFT_HYPHEN_BREAK = re.compile("\xad[ \t]*\n[ \t]*")
_SOFT_HYPHEN_END = re.compile("\xad[ \t]*$")
# Control characters, zero-width and direction marks, tags and what is no character at all: unseen by readers.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Ligatures, Kangxi radicals (in which many PDFs spell Chinese) and full-width letters, digits and signs. Full-width
# punctuation stays: Chinese is written with it, and its sentences are found by it.
_FORMS = re.compile("[\ufb00-\ufb06\u2f00-\u2fd5＂-＇＊＋－／-９＜-＞＠-Ｚ＼＾-ｚ｜]")
# Nothing that is written has more marks on a letter (Unicode's stream-safe text, UAX 15), and sorting them takes the
# square of their number.
_MARKS_ALLOWED = 30
_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{_MARKS_ALLOWED + 1},}}")
# The dots that lead from a heading to its page: one model token each.
_LEADERS = re.compile(r" ?[.·…](?: ?[.·…]){4,} ?")
_STRAY_SPACES = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")
# White space has no tokens: without end, it would make a chunk longer than the index takes.
_RUN_OF_SPACES = re.compile(r"[ \t]{2,}+")
# Tabs are a table's empty cells.
_TABS_ALLOWED = 8

# Written without spaces between words, each character two columns wide.
_CJK = "\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
# Hangul is as wide, but has spaces.
_WIDE = re.compile(f"[{_CJK}\uac00-\ud7af]")
_CJK_PUNCTUATION = re.compile("[\u3000-\u303f\uff00-\uff65—…“”]")
# Items of lists begin lines of their own.
_ITEM = re.compile(r"[-*+•‣◦▪–·●○■□◆►]\s|\(?\d{1,3}[.)、]|（?[一二三四五六七八九十]{1,3}[、）]|\(?[a-zA-Z][.)]\s")
_HYPHENATED = re.compile(r"[^\W\d_][-\u2010]$")
# Below this many columns there is no telling a wrapped line from a short one.
_NARROWEST = 20
# Proportional type sets lines of one width with differing numbers of characters.
_RAGGED = 0.85


def clean(text: str) -> str:
    """A text of which nothing is known but that empty lines part its paragraphs."""
    text = _SOFT_HYPHEN_BREAK.sub("", _one_newline(text))
    text = _no_stray_spaces(_no_leaders(_plain_forms(_only_visible(text))))
    return "\n\n".join("".join(_unwrapped(paragraph.split("\n"))) for paragraph in text.split("\n\n"))


def clean_piece(piece: Piece) -> Piece:
    """A block: its lines are joined where only the layout broke them, and keep their places."""
    piece = rewritten(piece, _one_newline)
    if piece.kind == "verbatim":
        return rewritten(piece, lambda text: _plain_forms(_only_visible(text)))
    lines = [line for line in map(_clean_line, _lines_of(piece)) if line.text]
    texts = [line.text for line in lines]
    parts = [*texts[:1], *("\n" + text for text in texts[1:])]
    if piece.kind != "row":
        parts = _unwrapped(texts, whole=piece.kind == "heading")
    places: list[Line] = []
    length = 0
    for line, part in zip(lines, parts, strict=True):
        # What joins it to the line before comes first.
        shift = length + len(part) - len(line.text)
        places += (Line(max(shift + place.start, length), place.box) for place in line.lines)
        length += len(part)
    return Piece("".join(parts), piece.kind, piece.level, tuple(places))


def _lines_of(piece: Piece) -> Iterator[Piece]:
    if "\n" not in piece.text:
        yield Piece(piece.text, lines=piece.lines)
        return
    start = 0
    for text in piece.text.split("\n"):
        end = start + len(text) + 1
        own = [Line(place.start - start, place.box) for place in piece.lines if start <= place.start < end]
        yield Piece(text, lines=tuple(own))
        start = end


def _clean_line(line: Piece) -> Piece:
    text = _SOFT_HYPHEN_END.sub("\u2010", line.text)
    line = rewritten(line if text == line.text else Piece(text, lines=line.lines), _clean_part)
    text = line.text.lstrip(" ")
    places = line.lines
    if stripped := len(line.text) - len(text):
        places = tuple(Line(max(place.start - stripped, 0), place.box) for place in places)
    return Piece(text.rstrip(" \t"), lines=places)


def _clean_part(text: str) -> str:
    return _RUN_OF_SPACES.sub(_one_space, _no_leaders(_plain_forms(_only_visible(text))))


def _one_newline(text: str) -> str:
    return _NEWLINES.sub("\n", text).replace("\u2029", "\n\n")


def _only_visible(text: str) -> str:
    # Most lines of Western text: what follows looks at each character twice.
    if text.isascii() and text.isprintable():
        return text
    return _INVISIBLE.sub("", _SPACES.sub(" ", text))


def _plain_forms(text: str) -> str:
    if text.isascii():
        return text
    text = _FORMS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return unicodedata.normalize("NFC", _MARKS.sub(_few_marks, text))


def _few_marks(found: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in found[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MARKS_ALLOWED:
            kept.append(character)
    return "".join(kept)


def _no_leaders(text: str) -> str:
    return _LEADERS.sub(" ... ", text)


def _no_stray_spaces(text: str) -> str:
    text = _RUN_OF_SPACES.sub(_one_space, _STRAY_SPACES.sub("", text))
    return re.sub(r"\n{3,}", "\n\n", text)


def _one_space(found: re.Match[str]) -> str:
    return "\t" * min(found[0].count("\t"), _TABS_ALLOWED) or " "


def _unwrapped(lines: list[str], *, whole: bool = False) -> list[str]:
    """What each line adds to the text when those that only the layout broke, or all, are joined."""
    column = max(map(_width, lines), default=0)
    parts = lines[:1]
    for line, following in pairwise(lines):
        following = following.lstrip(" ")
        if _HYPHENATED.search(line) and following[:1].islower():
            parts[-1] = parts[-1][:-1]
            parts.append(following)
        elif _was_wrapped(line, following, column) or (whole and line and following):
            parts.append(_glue(line, following) + following)
        else:
            parts.append("\n" + following)
    return parts


def _was_wrapped(line: str, following: str, column: int) -> bool:
    """A line was broken by the layout if the next one's first word had no more room in it."""
    if column < _NARROWEST or not line or not following or "\t" in line or "\t" in following or _ITEM.match(following):
        return False
    word = following[0] if _CJK_CHARACTER.match(following) else following.split(" ", 1)[0]
    return _width(line) + 1 + _width(word) > _RAGGED * column


def _glue(line: str, following: str) -> str:
    last, first = line[-1], following[0]
    if _HYPHENATED.search(line) or _CJK_PUNCTUATION.match(last) or _CJK_PUNCTUATION.match(first):
        return ""
    return "" if _CJK_CHARACTER.match(last) and _CJK_CHARACTER.match(first) else " "


def _width(line: str) -> int:
    return len(line) if line.isascii() else len(line) + len(_WIDE.findall(line))
