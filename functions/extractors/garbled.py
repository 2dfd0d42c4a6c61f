"""Whether a page's text layer is nonsense: of a font that does not say which letters its shapes are, or says wrong."""

from __future__ import annotations

import re
import string

# What nobody can read: the replacement character, private use, controls, and glyph numbers that a program wrote out.
_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff\x00-\x08\x0e-\x1f]|\\(cid:\\d+\\)")
_UNREADABLE_SHARE = 0.1
# Bullets and ticks of symbol fonts are private use too: a few do not make a page unreadable.
_UNREADABLE_ALLOWED = 15

# Less than this has no statistics.
_LEAST_LETTERS, _LEAST_ACCENTED, _LEAST_HAN = 300, 50, 50
_LETTERS, _VOWELS = string.ascii_letters.encode(), b"AEIOUYaeiouy"
# English has 40 of 100, and no language that is written in Latin letters less than 30. Letters shifted by 29, as
# those of fonts without a table mostly are, have 14; Base64 has 23, and must stay what it is.
_VOWEL_SHARE = 0.18
# Bytes of another encoding taken for Latin-1: "ÖÐÎÄ". Of Vietnamese, the richest in accents, a quarter is like that.
_ACCENTED = re.compile("[\xa1-\xff]")
_ACCENTED_SHARE = 0.6
# Of Chinese as it is written, simplified or traditional, 97 of 100 characters are in the first level of GB 2312 or of
# Big5, which have them by use; of all Han characters, a third.
_HAN = re.compile("[\u4e00-\u9fff]")
_COMMON_SHARE = 0.6
_LEVELS = (("gb2312", range(0xB0, 0xD8)), ("big5", range(0xA4, 0xC7)))
_COMMON = frozenset(
    "".join(
        bytes((lead, trail)).decode(encoding, "ignore")
        for encoding, leads in _LEVELS
        for lead in leads
        for trail in range(0x40, 0xFF)
    )
)


def is_garbled(text: str) -> bool:
    """Whether no reader could make sense of this page's text."""
    visible = sum(map(len, text.split()))
    unreadable = _UNREADABLE.findall(text)
    if len(unreadable) > _UNREADABLE_ALLOWED and sum(map(len, unreadable)) > _UNREADABLE_SHARE * visible:
        return True
    accented = len(_ACCENTED.findall(text))
    if accented >= max(_LEAST_ACCENTED, _ACCENTED_SHARE * visible):
        return True
    return _has_no_vowels(text, visible) or _is_of_rare_characters(text)


def _has_no_vowels(text: str, visible: int) -> bool:
    plain = text.encode("ascii", "ignore")
    letters = len(plain) - len(plain.translate(None, _LETTERS))
    vowels = len(plain) - len(plain.translate(None, _VOWELS))
    return letters >= max(_LEAST_LETTERS, visible / 2) and vowels < _VOWEL_SHARE * letters


def _is_of_rare_characters(text: str) -> bool:
    characters = _HAN.findall(text)
    common = sum(map(_COMMON.__contains__, characters))
    return len(characters) >= _LEAST_HAN and common < _COMMON_SHARE * len(characters)
