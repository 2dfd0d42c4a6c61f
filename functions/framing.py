"""Members one after the other in one file, as the jail writes it and the worker reads it, who believes none of it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.errors import Rejected
from functions.members import is_fit

# How long content and path are, which follow in this order; what is known last is written last.
_HEAD = struct.Struct(">QI")


class Writer:
    """The sink of functions/members.py over a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start: int | None = None

    def write(self, piece: bytes) -> None:
        self._begin()
        self._file.write(piece)

    def end(self, path: str, size: int) -> None:
        start = self._begin()
        name = path.encode()
        self._file.write(name)
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_HEAD.pack(size, len(name)))
        self._file.seek(end)
        self._start = None

    def undo(self) -> None:
        if self._start is not None:
            self._file.seek(self._start)
            self._file.truncate()
            self._start = None

    def _begin(self) -> int:
        if self._start is None:
            self._start = self._file.tell()
            self._file.write(bytes(_HEAD.size))
        return self._start


@dataclass(frozen=True, slots=True)
class Framed:
    """A member's content: the bytes [start, start + size) of the file."""

    path: str
    start: int
    size: int


def read(file: IO[bytes], most: int) -> Iterator[Framed]:
    """The members, up to `most`. Raises `Rejected` (EXTRACT_CRASHED) at the first that makes no sense."""
    end = file.seek(0, io.SEEK_END)
    start, paths = 0, set[str]()
    while start < end:
        file.seek(start)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise _nonsense()
        size, length = _HEAD.unpack(head)
        start += _HEAD.size
        if size > end - start or length > end - start - size or len(paths) == most:
            raise _nonsense()
        file.seek(start + size)
        path = _path(file.read(length))
        if path in paths or not is_fit(path):
            raise _nonsense()
        paths.add(path)
        yield Framed(path, start, size)
        start += size + length


def _path(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _nonsense() from None


def _nonsense() -> Rejected:
    return Rejected("Taking this file apart failed: what its reader wrote makes no sense.", code="EXTRACT_CRASHED")


class Slice(io.RawIOBase):
    """A member's content, to be read as a file of its own."""

    def __init__(self, path: Path, framed: Framed) -> None:
        self._file = path.open("rb")
        self._file.seek(framed.start)
        self._left = framed.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
