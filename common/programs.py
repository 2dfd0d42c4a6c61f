"""What the kernel must be allowed to execute so that one program runs: itself, and what loads it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

# <elf.h>: where the program headers are in a 64-bit file, how long and how many; the one that names the loader.
_ELF, _HEADERS_AT, _HEADER_SIZES_AT, _PT_INTERP = b"\x7fELF\x02\x01", 32, 54, 3
_HEAD_BYTES = 4096
# A script's interpreter, and that one's loader.
_LOADERS = 2


def executables(program: str) -> tuple[str, ...]:
    """The program's file and those of its interpreter and loader. Raises OSError where it cannot be read."""
    return tuple(dict.fromkeys(_chain(program)))


def _chain(program: str) -> Iterator[str]:
    path: str | None = program
    for _ in range(_LOADERS + 1):
        if path is None:
            return
        yield os.path.realpath(path)
        path = _loader(path)


def _loader(path: str) -> str | None:
    with Path(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        return os.fsdecode(words[0]) if words else None
    if not head.startswith(_ELF) or len(head) < 64:
        return None
    (start,) = struct.unpack_from("<Q", head, _HEADERS_AT)
    size, count = struct.unpack_from("<HH", head, _HEADER_SIZES_AT)
    for number in range(count):
        at = start + number * size
        if at + 40 > len(head):
            return None
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind == _PT_INTERP and offset + length <= len(head):
            return os.fsdecode(head[offset : offset + length].rstrip(b"\0"))
    return None
