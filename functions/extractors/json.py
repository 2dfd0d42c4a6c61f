"""JSON and JSON Lines: each object's names and values as a row that says where it stands, read as a stream by ijson."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ijson
import msgspec

from common.errors import Rejected
from common.records import Page
from common.untrusted import UNREADABLE
from functions.extractors import Options, code, encodings
from functions.extractors.fields import rows
from functions.pieces import Piece, in_records

_READ_BYTES = 256 * 1024
# Up to here it is tried whether it is JSON at all: files of settings are named so, and hold comments.
_TRIED_BYTES = 16 << 20
_LINE_BYTES, _FIRST_LINE_BYTES = 16 << 20, 1 << 20
# Of one object, before its values are told: hostile ones have no end.
_FIELDS_HELD = 200
_BROKEN = (ijson.JSONError, UnicodeDecodeError, ValueError)


class _Bytes(Protocol):
    def read(self, size: int, /) -> bytes: ...


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page. What is named JSON and is none is a text as source code is. Raises `Rejected` (FILE_DAMAGED)."""
    with path.open("rb") as file:
        encoding = encodings.detect(iter(lambda: file.read(_READ_BYTES), b""))
    if _is_lines(path, encoding):
        yield from in_records(_lines(path, encoding))
    elif path.stat().st_size <= _TRIED_BYTES and not _is_whole(path, encoding):
        yield from code.extract(path, options)
    else:
        yield from in_records(_whole(path, encoding, options))


def _is_whole(path: Path, encoding: str) -> bool:
    text = path.read_bytes().decode(encoding, "replace")
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UNREADABLE:
        return False
    return True


def _is_lines(path: Path, encoding: str) -> bool:
    """Whether the first line is a value by itself, and there is another."""
    with path.open(encoding=encoding, errors="replace") as file:
        first, second = file.readline(_FIRST_LINE_BYTES), file.readline(_FIRST_LINE_BYTES)
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except UNREADABLE:
        return False
    return bool(second.strip())


def _whole(path: Path, encoding: str, options: Options) -> Iterator[Piece]:
    try:
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            yield from _pieces(_Encoded(file))
    except _BROKEN as error:
        raise Rejected(
            f"{options.name} is damaged: it cannot be read as JSON to its end. Upload it again.", code="FILE_DAMAGED"
        ) from error


def _lines(path: Path, encoding: str) -> Iterator[Piece]:
    """A line that is no JSON is a text."""
    with path.open(encoding=encoding, errors="replace") as file:
        while line := file.readline(_LINE_BYTES):
            try:
                yield from list(_pieces(io.BytesIO(line.encode())) if line.strip() else ())
            except _BROKEN:
                yield Piece(line.strip())


class _Encoded:
    """A text as the UTF-8 that ijson reads."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size).encode(errors="replace")


@dataclass(slots=True)
class _Level:
    """An object or array that is open. `key`: the name whose value comes next, of an array its own."""

    key: str
    is_array: bool
    fields: list[tuple[str, str]] = field(default_factory=list)


def _pieces(file: _Bytes) -> Iterator[Piece]:
    levels = [_Level("", is_array=True)]
    for event, value in ijson.basic_parse(file, buf_size=_READ_BYTES, multiple_values=True):
        level = levels[-1]
        if event == "map_key":
            level.key = value
        elif event in ("start_map", "start_array"):
            yield from _told(levels)
            levels.append(_Level(level.key if event == "start_array" else "", event == "start_array"))
        elif event in ("end_map", "end_array"):
            yield from _told(levels)
            levels.pop()
        elif text := _text(value):
            level.fields.append((level.key, text))
            if len(level.fields) >= _FIELDS_HELD:
                yield from _told(levels)
    yield from _told(levels)


def _told(levels: list[_Level]) -> Iterator[Piece]:
    """The open level's fields so far; an array's values, which have one name, together."""
    level = levels[-1]
    path = [one.key for one in levels[:-1] if one.key and not one.is_array]
    fields: Iterable[tuple[str, str]] = level.fields
    if level.is_array:
        path = path[:-1] if path and path[-1] == level.key else path
        fields = [(level.key, ", ".join(value for _, value in level.fields))]
    yield from rows(path, fields)
    level.fields = []


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
