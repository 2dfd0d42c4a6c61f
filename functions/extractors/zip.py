"""ZIP archives: their text is a list of what is in them; what is in them becomes documents (functions/members.py)."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, encodings
from functions.members import Damaged, Entry, listed
from functions.pieces import Piece, in_records

_READ_BYTES = 256 * 1024
# From APPNOTE.TXT: flags of an entry, and the extra field in which its name stands as UTF-8.
_ENCRYPTED, _UTF8, _UNICODE_PATH = 0x1, 0x800, 0x7075
# The ends of an archive's directory, of the larger one's, and what points there.
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _COMMENT_BYTES, _LOCATOR_BYTES, _END64_BYTES = 22, 65_535, 20, 56
# More than an entry takes in any directory that means well; the least is 46 and the name.
_ENTRY_BYTES = 300
_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError, OSError, RuntimeError),
)
_ASIAN = frozenset(("gb18030", "cp950", "big5hkscs", "cp932", "euc_jp", "cp949"))


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page: the archive's name, then an item for each file in it. Raises as `members` does."""
    yield from in_records(_pieces(path, options))


def _pieces(path: Path, options: Options) -> Iterator[Piece]:
    yield Piece(options.name, "heading", 1)
    yield from listed(members(path, options), options)


def members(path: Path, options: Options) -> Iterator[Entry]:
    """Its files. Raises `Rejected` with FILE_DAMAGED or TOO_MANY_ENTRIES."""
    _demand_few(path, options)
    try:
        archive = zipfile.ZipFile(path)
    except _ERRORS as error:
        raise Rejected(
            f"{options.name} is damaged: it cannot be read as a ZIP archive. Upload it again.", code="FILE_DAMAGED"
        ) from error
    with archive:
        files = [one for one in archive.infolist() if not one.is_dir()]
        encoding = _encoding(files)
        for one in files:
            refused = "it is encrypted" if one.flag_bits & _ENCRYPTED else ""
            yield Entry(_name(one, encoding), one.file_size, _Content(archive, one), refused)


class _Content:
    """What one file unfolds to: no more than it says, which is where zipfile stops."""

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self._archive, self._entry = archive, entry

    def __call__(self) -> Iterator[bytes]:
        try:
            with self._archive.open(self._entry) as file:
                yield from iter(lambda: file.read(_READ_BYTES), b"")
        except NotImplementedError as error:
            raise Damaged("it is compressed in a way that nobody here knows") from error
        except _ERRORS as error:
            raise Damaged("it is damaged") from error


def _demand_few(path: Path, options: Options) -> None:
    """Before zipfile makes an object of each, ten times the size of what it stands for."""
    if (count := _count(path)) > options.max_archive_entries:
        raise Rejected(
            f"{options.name} holds {count:,} files or more; one archive may hold {options.max_archive_entries:,} "
            "(BRIGADE_MAX_ARCHIVE_ENTRIES).",
            code="TOO_MANY_ENTRIES",
        )


def _count(path: Path) -> int:
    """How many entries the directory's end tells of, or as many as its size gives away."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES - _LOCATOR_BYTES))
        tail = file.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) - end < _END_BYTES:
            return 0  # zipfile says so
        count, directory = struct.unpack_from("<HI", tail, end + 10)
        locator = tail.rfind(_LOCATOR64, 0, end)
        if locator >= 0:
            file.seek(min(size, struct.unpack_from("<Q", tail, locator + 8)[0]))
            record = file.read(_END64_BYTES)
            if record.startswith(_END64) and len(record) == _END64_BYTES:
                count, directory = struct.unpack_from("<QQ", record, 32)
    return int(max(count, min(directory, size) // _ENTRY_BYTES))


def _encoding(entries: Sequence[zipfile.ZipInfo]) -> str:
    """Of the names that are not said to be UTF-8: what they are together, as one alone is too short to tell by."""
    raw = [_raw(one) for one in entries if not one.flag_bits & _UTF8]
    foreign = b"\n".join(name for name in raw if not name.isascii())
    found = encodings.detect(iter([foreign])) if foreign else "cp437"
    return found if found in _ASIAN or found.startswith("utf-8") else "cp437"


def _raw(entry: zipfile.ZipInfo) -> bytes:
    """zipfile reads every byte as some character of CP437."""
    return entry.orig_filename.encode("cp437", "replace")


def _name(entry: zipfile.ZipInfo, encoding: str) -> str:
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = _raw(entry)
    return _said_beside(entry.extra, raw) or raw.split(b"\0", 1)[0].decode(encoding, "replace")


def _said_beside(extra: bytes, raw: bytes) -> str | None:
    """The name that the extra field says, if it is that of this very name: version, checksum, UTF-8."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5 and struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw):
            return field[5:].decode("utf-8", "replace")
    return None
