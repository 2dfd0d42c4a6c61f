"""The encodings that pages of the web may declare, as the web understands their names (encoding.spec.whatwg.org)."""

from __future__ import annotations

import codecs

# Python's codecs by their own names, which know most of the web's names for them; the web reads some as a superset.
# Not here: UTF-16 and UTF-32, which a page that declares them in ASCII is not in, and what is no encoding of text.
_CODECS = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big5hkscs", "cp950"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "cp932"), "cp932"),
    **dict.fromkeys(("euc_kr", "cp949"), "cp949"),
    **dict.fromkeys(("iso8859-1", "cp1252"), "cp1252"),
    **dict.fromkeys(("iso8859-9", "cp1254"), "cp1254"),
    **dict.fromkeys(("iso8859-11", "tis-620", "cp874"), "cp874"),
    **{f"iso8859-{part}": f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"cp{page}": f"cp{page}" for page in (866, 1250, 1251, 1253, 1255, 1256, 1257, 1258)},
    **{name: name for name in ("euc_jp", "iso2022_jp", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "utf-8")},
}
# The web's names that Python does not know.
_LABELS = {
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-euc-jp": "euc_jp",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "dos-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
    "iso-8859-8-i": "iso8859-8",
    "koi": "koi8-r",
    "koi8": "koi8-r",
    "koi8-ru": "koi8-u",
    "x-mac-roman": "mac-roman",
    **{f"x-cp{page}": f"cp{page}" for page in range(1250, 1259)},
}


def encoding(label: str | None, data: bytes) -> str | None:
    """Python's name of the encoding that a page declares; None where it is none, or not the page's own."""
    name = _named(label) if label else None
    # UTF-8 is found without being told.
    if name is None or name == "utf-8":
        return None
    try:
        data.decode(name)
    except UnicodeError:
        return None
    return name


def _named(label: str) -> str | None:
    if known := _LABELS.get(label.lower()):
        return known
    try:
        return _CODECS.get(codecs.lookup(label).name)
    except LookupError:
        return None
