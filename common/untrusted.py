"""What comes from outside, and what of it nothing behind can take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

# All that msgspec raises for bytes that are no JSON, or not the JSON that was asked for: text that is not UTF-8 and
# values nested without end have errors of their own.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# A backslash that is itself escaped begins no escape.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


# S3's limit, in bytes of UTF-8, which notifications are held to as well.
_MAX_KEY_BYTES = 1024


def is_nameable(key: str) -> bool:
    """Whether we can keep an object's key, and ask its store for it: minio-py asks for no `.` and no `..` in a path."""
    return (
        "\x00" not in key
        and len(key.encode(errors="replace")) <= _MAX_KEY_BYTES
        and not {".", ".."} & set(key.split("/"))
    )


def holds_nul(body: bytes | bytearray | memoryview) -> bool:
    """Whether a string of this JSON, which was decoded, holds the character NUL: Postgres keeps no text with one."""
    return _NUL.search(body) is not None


def is_shallow(value: object, levels: int) -> bool:
    """Whether a value is nested no deeper: all that reads JSON, here and at the clients, gets through it."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(is_shallow(one, levels - 1) for one in inner)


def storable(value: Any) -> Any:
    """Without what Postgres keeps in no text: NUL characters and halves of surrogate pairs. Documents hold both."""
    match value:
        case str():
            return value.replace("\x00", "").encode(errors="replace").decode()
        case Mapping():
            return {storable(key): storable(one) for key, one in value.items()}
        case list() | tuple():
            return [storable(one) for one in value]
        case _:
            return value
