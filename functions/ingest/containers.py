"""What lies in a zip or an OLE2 file, by its directory alone: a few ranged reads, whatever the file's size.

Nothing is unfolded here; that is the jail's business.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

ZIP, OLE2 = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# The end record and the longest comment (APPNOTE.TXT, 4.3.16).
_ZIP_END_BYTES = 22 + 0xFFFF
_ZIP_END = b"PK\x05\x06"
# What stands before each member: its name's length and its name (4.3.7).
_LOCAL_HEADER = re.compile(rb"PK\x03\x04.{22}(..)..(?=(.{0,200}))", re.DOTALL)
# 40,000 members, more than any document has. In memory a member takes 500 bytes.
_ZIP_DIRECTORY_BYTES = 4 << 20
# Of [MS-CFB] 2.2, 2.6.1: what a header tells, and entries of 128 bytes with their names in UTF-16.
_ENTRY_BYTES = 128
_NO_SECTOR = 0xFFFFFFFA
# A document has a few dozen entries, a mail with attachments some hundred.
_MAX_DIRECTORY_SECTORS = 256


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes: its first, and the others by `read(offset, length)`."""

    size: int
    head: bytes
    read: Callable[[int, int], bytes]


def zip_names(content: Content) -> frozenset[str]:
    """The names of a zip's members; where its directory is missing, as it is at its end, of its first members."""
    names = {member.filename for member in _zip_members(content)}
    return frozenset(
        names
        or {
            found[2][: int.from_bytes(found[1], "little")].decode("utf-8", "replace")
            for found in _LOCAL_HEADER.finditer(content.head)
        }
    )


def _zip_members(content: Content) -> list[zipfile.ZipInfo]:
    tail = content.read(max(0, content.size - _ZIP_END_BYTES), _ZIP_END_BYTES)
    end = tail.rfind(_ZIP_END)
    if end < 0 or len(tail) < end + 16:
        return []
    wanted = int.from_bytes(tail[end + 12 : end + 16], "little") + len(tail) - end
    if wanted > len(tail):
        length = min(wanted, _ZIP_DIRECTORY_BYTES, content.size)
        tail = content.read(content.size - length, length)
    try:
        # Its directory is where it is counted from its end; that nothing lies before it disturbs nobody.
        return zipfile.ZipFile(io.BytesIO(tail)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError):
        return []


def stored_type(head: bytes) -> str:
    """The media type that EPUB and OpenDocument begin with, as a member of its own, uncompressed; else nothing."""
    if head[30:38] != b"mimetype":
        return ""
    length, extra = (int.from_bytes(head[at : at + 2], "little") for at in (18, 28))
    start = 38 + extra
    # Who wrote it as a stream, sizes after data, has the next member's mark or the sizes' behind it.
    return head[start : start + (length or 80)].partition(b"PK")[0].decode("ascii", "replace").strip()


class _Entry(NamedTuple):
    """A stream or storage: its name, its neighbours in the tree of its storage, and the first of its own."""

    name: str
    left: int
    right: int
    child: int


def compound_names(content: Content) -> frozenset[str]:
    """The names of the outermost streams and storages of an OLE2 file: those of what it embeds lie deeper."""
    entries = list(_compound_entries(content))
    names = set()
    # The first is the root.
    waiting = [entries[0].child] if entries else []
    seen = set(waiting)
    while waiting:
        at = waiting.pop()
        if at < len(entries):
            entry = entries[at]
            names.add(entry.name)
            waiting += {entry.left, entry.right} - seen
            seen |= {entry.left, entry.right}
    return frozenset(names)


def _compound_entries(content: Content) -> Iterator[_Entry]:
    if len(content.head) < 512:
        return
    shift, sector = (struct.unpack_from(form, content.head, at)[0] for form, at in (("<H", 30), ("<I", 48)))
    # 512 or 4,096 bytes.
    if shift not in (9, 12):
        return
    allocation = struct.unpack_from("<109I", content.head, 76)
    for _ in range(_MAX_DIRECTORY_SECTORS):
        if sector >= _NO_SECTOR:
            return
        entries = content.read((sector + 1) << shift, 1 << shift)
        for start in range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
            length, left, right, child = struct.unpack_from("<H2x3I", entries, start + 64)
            name = entries[start : start + max(min(length, 64) - 2, 0)].decode("utf-16-le", "replace")
            yield _Entry(name, left, right, child)
        table, index = divmod(sector, (1 << shift) // 4)
        # The directory stands at the beginning in all but the largest of files.
        if table >= len(allocation) or allocation[table] >= _NO_SECTOR:
            return
        found = content.read(((allocation[table] + 1) << shift) + 4 * index, 4)
        sector = int.from_bytes(found, "little") if len(found) == 4 else _NO_SECTOR
