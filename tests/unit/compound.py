"""Makers of OLE2 files: Outlook's messages and Word's documents from before 2007. Each returns the file's bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import compressed_rtf

_SECTOR, _MINI, _CUTOFF = 512, 64, 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
Tree = Mapping[str, "bytes | Tree"]


def compound(tree: Tree) -> bytes:
    """An OLE2 file ([MS-CFB]) of storages and streams."""
    entries: list[tuple[str, int, int, int, bytes]] = []  # name, kind, child, next one beside it, content

    def add(name: str, kind: int, content: bytes | Tree) -> int:
        number = len(entries)
        entries.append((name, kind, _FREE, _FREE, b""))
        if isinstance(content, bytes):
            entries[number] = (name, kind, _FREE, _FREE, content)
            return number
        last = _FREE
        for inner, what in reversed(list(content.items())):
            made = add(inner, 2 if isinstance(what, bytes) else 1, what)
            entries[made] = (*entries[made][:3], last, entries[made][4])
            last = made
        entries[number] = (name, kind, last, _FREE, b"")
        return number

    add("Root Entry", 5, tree)
    small, table, large = b"", list[int](), b""
    places = {}
    for number, (_, kind, _, _, content) in enumerate(entries):
        if kind == 2 and content and len(content) < _CUTOFF:
            places[number] = len(small) // _MINI
            table += _chain(len(table), -(-len(content) // _MINI))
            small += _padded(content, _MINI)
    entries[0] = (*entries[0][:4], small)
    mini = struct.pack(f"<{len(table)}I", *table)
    mini = mini.ljust(-(-len(mini) // _SECTOR) * _SECTOR, b"\xff")
    directory_sectors, mini_sectors = -(-len(entries) * 128 // _SECTOR), len(mini) // _SECTOR
    whole = [one[4] if number not in places else b"" for number, one in enumerate(entries)]
    used = directory_sectors + mini_sectors + sum(-(-len(one) // _SECTOR) for one in whole)
    fat_sectors = 1
    while fat_sectors * 128 < fat_sectors + used:
        fat_sectors += 1
    fat = [_FAT] * fat_sectors + _chain(fat_sectors, directory_sectors)
    fat += _chain(len(fat), mini_sectors)
    directory = b""
    for number, (name, kind, child, beside, content) in enumerate(entries):
        start = places.get(number, len(fat) if content else _END)
        fat += _chain(len(fat), -(-len(whole[number]) // _SECTOR))
        large += _padded(whole[number], _SECTOR)
        raw = name.encode("utf-16-le") + b"\0\0"
        directory += raw.ljust(64, b"\0") + struct.pack("<HBBIII", len(raw), kind, 1, _FREE, beside, child)
        directory += bytes(36) + struct.pack("<IQ", start, len(content))
    fat += [_FREE] * (fat_sectors * 128 - len(fat))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    first_mini = fat_sectors + directory_sectors if mini else _END
    header += struct.pack("<9I", 0, fat_sectors, fat_sectors, 0, _CUTOFF, first_mini, mini_sectors, _END, 0)
    header += struct.pack("<109I", *(*range(fat_sectors), *[_FREE] * (109 - fat_sectors)))
    return header + struct.pack(f"<{len(fat)}I", *fat) + _padded(directory, _SECTOR) + mini + large


def _padded(data: bytes, unit: int) -> bytes:
    return data.ljust(-(-len(data) // unit) * unit, b"\0")


def _chain(start: int, count: int) -> list[int]:
    return [*range(start + 1, start + count), _END] if count else []


def msg(subject: str, body: str = "", *, html: bytes = b"", rtf: bytes = b"", attached: Tree | None = None) -> bytes:
    """An Outlook message from Ada to Bob and Carol."""
    return compound(message(subject, body, html=html, rtf=rtf, attached=attached))


def message(
    subject: str, body: str = "", *, html: bytes = b"", rtf: bytes = b"", attached: Tree | None = None, header: int = 32
) -> Tree:
    """`header`: bytes before the properties; 24 in an attached message."""
    ticks = 133_500_000_000_000_000  # 2024-01-17 21:20 UTC
    tree: dict[str, bytes | Tree] = {
        "__properties_version1.0": bytes(header) + struct.pack("<IIQ", 0x00390040, 6, ticks),
        **_texts({0x0037: subject, 0x0C1A: "Ada", 0x5D01: "ada@example.org", 0x0E04: "Bob; Carol"}),
        **(_texts({0x1000: body}) if body else {}),
        **({"__substg1.0_10130102": html} if html else {}),
        **({"__substg1.0_10090102": compressed_rtf.compress(rtf)} if rtf else {}),
        **(attached or {}),
    }
    return tree


def attachment(name: str, content: bytes | Tree, number: int = 0) -> Tree:
    """A file, or a message."""
    is_file = isinstance(content, bytes)
    fixed = bytes(8) + struct.pack("<IIQ", 0x37050003, 6, 1 if is_file else 5)
    data = {"__substg1.0_37010102" if is_file else "__substg1.0_3701000D": content}
    inner: Tree = {"__properties_version1.0": fixed, **_texts({0x3707: name}), **data}
    return {f"__attach_version1.0_#{number:08X}": inner}


def _texts(values: Mapping[int, str]) -> dict[str, bytes]:
    return {f"__substg1.0_{number:04X}001F": value.encode("utf-16-le") for number, value in values.items()}


def old_word(text: str) -> bytes:
    """As Word 97 saves: the head of the file information block, and the text in its code page."""
    content = (text.replace("\n", "\r") + "\r").encode("cp1252")
    fib = struct.pack("<HHHHHHHIBB", 0xA5EC, 0xC1, 0, 0x0409, 0, 0, 0xBF, 0, 0, 0) + bytes(2)
    fib = fib.ljust(24, b"\0") + struct.pack("<II", 1024, 1024 + len(content))
    return compound({"WordDocument": (fib.ljust(1024, b"\0") + content).ljust(4096, b"\0"), "1Table": bytes(4096)})
