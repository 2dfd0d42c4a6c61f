"""What a number in an Excel sheet means: a date, a time, a share or a number (ECMA-376 part 1, 18.8.30 and 18.17.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Literal

from functions.extractors import packages

_Meaning = Literal["number", "date", "duration", "share"]

_BUILT_IN: dict[int, _Meaning] = {
    **dict.fromkeys((9, 10), "share"),
    # 27 to 36 and 50 to 58 are dates in Chinese, Japanese and Korean.
    **dict.fromkeys((*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)), "date"),
    46: "duration",
}
# What is shown as it is: "text", an escaped or a filling character, a colour or a currency in brackets.
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!(?:h+|m+|s+)\])[^\]]*\]', re.IGNORECASE)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
# Of years, months, days, hours and seconds; "e" and "g" are those of emperors.
_DATE = re.compile(r"[ymdhs]|(?<![0#?.])e|g{1,3}(?!eneral)", re.IGNORECASE)
_LONGEST_FORMAT = 300
# Day 60 is a 29th of February that 1900 had not: days before it count from one later.
_EPOCH, _EARLY_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1899, 12, 31), datetime(1904, 1, 1)  # noqa: DTZ001
_NOT_A_DAY = 60
# Of the year 9999.
_LAST_DAY = 2_958_466
_SECONDS_A_DAY = 86_400


@dataclass(slots=True)
class Formats:
    """The meanings of a workbook's cell styles, by their numbers."""

    from_1904: bool
    _meanings: list[_Meaning] = field(default_factory=list)

    def read(self, file: IO[bytes]) -> None:
        codes: dict[str, _Meaning] = {}
        for _, element in packages.elements(file, "{*}numFmt", "{*}cellXfs", starts=False):
            if packages.local(element) == "numFmt":
                codes[element.get("numFmtId", "")] = meaning(element.get("formatCode", ""))
                continue
            for style in element.iterchildren("{*}xf"):
                number = style.get("numFmtId", "0")
                built_in = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
                self._meanings.append(codes.get(number) or _BUILT_IN.get(built_in, "number"))

    def shown(self, value: str, style: str) -> str:
        """The number as people write it; dates and times by ISO 8601."""
        try:
            number = float(value)
        except ValueError:
            return value
        at = int(style) if style.isascii() and style.isdigit() and len(style) < 10 else 0
        match self._meanings[at] if at < len(self._meanings) else "number":
            case "date" if 0 <= number < _LAST_DAY:
                return _date(number, self.from_1904)
            case "duration" if 0 <= number < _LAST_DAY:
                return _duration(round(number * _SECONDS_A_DAY))
            case "share":
                return f"{number * 100:.12g}%"
            case _:
                # Fifteen digits are what Excel knows; the rest is noise of its arithmetic.
                return f"{number:.15g}"


def meaning(code: str) -> _Meaning:
    bare = _LITERAL.sub("", code[:_LONGEST_FORMAT]).partition(";")[0]
    if _ELAPSED.search(bare):
        return "duration"
    if "general" in bare.lower():
        return "number"
    if _DATE.search(bare):
        return "date"
    return "share" if "%" in bare else "number"


def _date(number: float, from_1904: bool) -> str:
    if number < 1 and not from_1904:
        return _duration(round(number * _SECONDS_A_DAY))
    epoch = _EPOCH_1904 if from_1904 else _EPOCH if number >= _NOT_A_DAY else _EARLY_EPOCH
    seconds = round(number * _SECONDS_A_DAY)
    try:
        moment = epoch + timedelta(seconds=seconds)
    except OverflowError:
        return f"{number:.15g}"
    if seconds % _SECONDS_A_DAY == 0:
        return moment.date().isoformat()
    return moment.isoformat(" ", "seconds" if moment.second else "minutes")


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02}:{rest // 60:02}" + (f":{rest % 60:02}" if rest % 60 else "")
