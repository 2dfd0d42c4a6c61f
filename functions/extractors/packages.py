"""Formats that are zips of XML: opened within budgets, read element by element, so that memory stays flat and bombs
fizzle. Of Office's (ECMA-376, part 2) also how parts refer to each other.
"""

from __future__ import annotations

import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lxml import etree

from common.errors import Rejected
from functions.extractors import Options

_ENCRYPTED = 0x1
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, etree.XMLSyntaxError),
    *(EOFError, NotImplementedError, KeyError, UnicodeDecodeError),
)
# Holds the same once more, for programs that do not know its newer form.
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


@contextmanager
def opened(path: Path, options: Options, what: str) -> Iterator[zipfile.ZipFile]:
    """The archive. What is wrong with it or with its XML, also while it is read, is raised as `Rejected`: FILE_DAMAGED
    ("it cannot be read as `what`"), PASSWORD_PROTECTED or INFLATES_TOO_LARGE.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, options)
            yield archive
    except _DAMAGED as error:
        raise damaged(options, what) from error


def damaged(options: Options, what: str) -> Rejected:
    return Rejected(f"{options.name} is damaged: it cannot be read as {what}. Upload it again.", code="FILE_DAMAGED")


def locked(options: Options) -> Rejected:
    return Rejected(
        f"{options.name} is protected by a password. Upload a copy that opens without one.", code="PASSWORD_PROTECTED"
    )


def _check(archive: zipfile.ZipFile, options: Options) -> None:
    if any(entry.flag_bits & _ENCRYPTED for entry in archive.infolist()):
        raise locked(options)
    # What the directory declares is what can be read: zipfile stops there, and finds the checksum wrong.
    inflated = sum(entry.file_size for entry in archive.infolist())
    if inflated > options.max_inflated_bytes:
        raise Rejected(
            f"{options.name} unfolds to {inflated / (1 << 20):,.0f} MiB, more than the "
            f"{options.max_inflated_bytes / (1 << 20):,.0f} MiB that one document may have "
            "(BRIGADE_MAX_INFLATED_BYTES).",
            code="INFLATES_TOO_LARGE",
        )


def elements(file: IO[bytes], *tags: str, starts: bool = True) -> Iterator[tuple[bool, etree._Element]]:
    """Each element (of these tags, else all) when it ends, and before that when it starts: (whether it starts, it)."""
    events = ("start", "end") if starts else ("end",)
    for event, element in etree.iterparse(
        file, events=events, tag=tags or "{*}*", resolve_entities=False, no_network=True, load_dtd=False
    ):
        yield event == "start", element


def local(element: etree._Element) -> str:
    """An element's name without its namespace, of which the Office formats have two each: "transitional", "strict"."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: etree._Element, name: str) -> str | None:
    """The attribute of that local name, in whatever namespace."""
    if (value := element.get(name)) is not None:
        return str(value)
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def forget(element: etree._Element) -> None:
    """Free what has been read; an element still being read cannot lose itself, only what is in and before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


@dataclass(frozen=True, slots=True)
class Relationship:
    """A part that another refers to. `kind` is the last word of its type: "slide", "styles", …"""

    id: str
    kind: str
    target: str


def relationships(archive: zipfile.ZipFile, part: str) -> list[Relationship]:
    """The parts of this archive that this part refers to; "" is the package itself."""
    folder, name = posixpath.split(part)
    try:
        file = archive.open(posixpath.join(folder, "_rels", f"{name}.rels"))
    except KeyError:
        return []
    found = []
    with file:
        for _, element in elements(file, "{*}Relationship", starts=False):
            target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", ""))).lstrip("/")
            if target in archive.NameToInfo and element.get("TargetMode") != "External":
                found.append(Relationship(element.get("Id", ""), element.get("Type", "").rpartition("/")[2], target))
            forget(element)
    return found


def relation(element: etree._Element) -> str:
    """The id of the part that an element refers to; its `id` without a namespace is another."""
    return next((str(value) for key, value in element.attrib.items() if key.endswith("}id")), "")


def main_part(archive: zipfile.ZipFile, usual: str) -> str:
    """The name of the main part, which programs may choose. Raises KeyError where there is none."""
    found = next((part.target for part in relationships(archive, "") if part.kind == "officeDocument"), usual)
    return archive.getinfo(found).filename
