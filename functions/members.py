"""What archives and e-mails hold, taken out within budgets: the same for all formats that have members.

An extractor of such a format has `members(path, options) -> Iterator[Entry]` beside `extract`, and tells in its text
what was taken and what was not, and why, with `listed`. Both walk the same entries in the same way, so that they agree.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from common.errors import RequestError
from common.filenames import clean_filename
from functions.extractors import Options
from functions.pieces import Piece

# Of a key's 1,024 bytes, what `incoming/<id>.parts/` leaves, and a number before it.
PATH_BYTES = 950
# Lines about what was not taken; more of them tell nothing more.
_REFUSALS_TOLD = 1000
# What programs put beside what people meant: macOS's resource forks, and how folders look.
_JUNK_FOLDERS, _JUNK_NAMES = frozenset(("__MACOSX",)), frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
# They turn the direction of what follows, so that a name shows as another.
_TURNS = dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


class Damaged(Exception):
    """An entry's content cannot be read; the others may be. What it says is told in the list."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`name`: its path, as the archive has it. `size`: the bytes that it says it has. `refused`: why it is not taken.

    `content` raises `Damaged`.
    """

    name: str
    size: int | None
    content: Callable[[], Iterator[bytes]]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """An entry as it went. `path`: its name, made fit for a key; "" if it was not taken, `refused` says why."""

    name: str
    size: int | None
    path: str = ""
    refused: str = ""


class Sink(Protocol):
    """Where the contents go: `end` when one is whole, `undo` when it will not be."""

    def write(self, piece: bytes) -> None: ...
    def end(self, path: str, size: int) -> None: ...
    def undo(self) -> None: ...


class Nowhere:
    """For who only wants to know how it goes."""

    def write(self, piece: bytes) -> None: ...
    def end(self, path: str, size: int) -> None: ...
    def undo(self) -> None: ...


def unfold(entries: Iterable[Entry], options: Options, sink: Sink) -> Iterator[Member]:
    """Each entry as it goes, in order; those that are taken go to the sink, within what the document may unfold to."""
    paths = _Paths()
    count = total = 0
    for entry in entries:
        refused = entry.refused or _refusal(entry, options, count, total)
        if refused or not fit(entry.name):
            yield Member(entry.name, entry.size, refused=refused or "it has no name that can be used")
            continue
        most = min(options.max_document_bytes, options.max_members_bytes - total)
        try:
            size = _copy(entry, sink, most)
        except Damaged as error:
            sink.undo()
            yield Member(entry.name, entry.size, refused=str(error) or "it is damaged")
            continue
        if size == 0 or size > most:
            sink.undo()
            yield Member(entry.name, entry.size, refused=_too_large(options, size, total) or "it is empty")
            continue
        path = paths.take(fit(entry.name))
        sink.end(path, size)
        count, total = count + 1, total + size
        yield Member(entry.name, size, path)


def _refusal(entry: Entry, options: Options, count: int, total: int) -> str:
    parts = entry.name.replace("\\", "/").split("/")
    if _JUNK_FOLDERS & set(parts) or parts[-1] in _JUNK_NAMES or parts[-1].startswith("._"):
        return "it belongs to the program that made the archive"
    if options.member_levels <= 0:
        return "archives and e-mails in one another are taken apart only so deep (BRIGADE_MAX_MEMBER_LEVELS)"
    if count >= options.max_members:
        return "more documents than one archive, with all in it, may unfold to (BRIGADE_MAX_MEMBERS)"
    return _too_large(options, entry.size or 0, total)


def _too_large(options: Options, size: int, total: int) -> str:
    if size > options.max_document_bytes:
        return "it is larger than a document may be (BRIGADE_MAX_DOCUMENT_BYTES)"
    if total + size > options.max_members_bytes:
        return "more bytes than one archive, with all in it, may unfold to (BRIGADE_MAX_MEMBERS_BYTES)"
    return ""


def _copy(entry: Entry, sink: Sink, most: int) -> int:
    """The entry's bytes into the sink; returns how many, or the first number beyond `most`."""
    size = 0
    for piece in entry.content():
        size += len(piece)
        if size > most:
            return size
        sink.write(piece)
    return size


def fit(name: str) -> str:
    """An entry's name as a path within a folder, whatever it says; "" where nothing is left of it.

    Without roots, drives, `.`, `..` and control characters, each component cut to what stores keep.
    """
    folders = name.replace("\\", "/").split("/")
    if len(folders[0]) == 2 and folders[0][1] == ":":
        del folders[0]
    path = "/".join(filter(None, map(_fit_component, folders)))
    if len(path.encode()) > PATH_BYTES:
        # What is left of a long path must still be another's than that of any other long path.
        digest = hashlib.sha256(path.encode()).hexdigest()[:16]
        path = f"{digest}/{PurePosixPath(path).name}"
    return path


def is_fit(path: str) -> bool:
    """Whether it is what `fit` may have made, perhaps with a number before it."""
    components = path.split("/")
    fits = all(one and _fit_component(one) == one for one in components)
    return fits and len(path.encode()) <= PATH_BYTES + 16


def _fit_component(component: str) -> str:
    try:
        # Outlook and Windows end no name with a blank or a dot, and some stores keep none.
        return clean_filename(component.translate(_TURNS)).rstrip(" .")
    except RequestError:
        return ""


class _Paths:
    """No path twice, and none that is another's folder, which stores on file systems cannot hold."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, path: str) -> str:
        free, number = path, 1
        while not self._is_free(free):
            number += 1
            free = f"({number})/{path}"
        self._files.add(free)
        self._folders.update(_folders(free))
        return free

    def _is_free(self, path: str) -> bool:
        return path not in self._files and path not in self._folders and not self._files & set(_folders(path))


def _folders(path: str) -> list[str]:
    return [str(folder) for folder in PurePosixPath(path).parents][:-1]


def listed(entries: Iterable[Entry], options: Options) -> Iterator[Piece]:
    """A list item for each entry, with what became of it. Notes `members`, how many are taken, and `refused`."""
    taken = refused = 0
    for member in unfold(entries, options, Nowhere()):
        taken += not member.refused
        refused += bool(member.refused)
        if not member.refused or refused <= _REFUSALS_TOLD:
            yield Piece(_line(member), "item")
    if refused > _REFUSALS_TOLD:
        yield Piece(f"- … and {refused - _REFUSALS_TOLD:,} more that were not taken", "item")
    options.note(members=taken, **({"refused": refused} if refused else {}))


def _line(member: Member) -> str:
    name = "".join(one for one in member.name if unicodedata.category(one) not in ("Cc", "Cs")).translate(_TURNS)
    size = "" if member.size is None else f", {member.size:,} bytes"
    return f"- {name}{size}" + (f": not taken, as {member.refused}" if member.refused else "")
