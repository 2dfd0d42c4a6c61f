"""MSG: Outlook's e-mails, MAPI properties in the streams of an OLE2 file ([MS-OXMSG]), by olefile."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import compressed_rtf
import olefile

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, rtf
from functions.extractors.html import decoded
from functions.extractors.mails import Mail, markup, pieces, plain
from functions.members import Damaged, Entry
from functions.pieces import Piece, in_records

# Property ids of [MS-OXPROPS].
_SUBJECT, _BODY, _HTML, _RTF, _HEADERS = 0x0037, 0x1000, 0x1013, 0x1009, 0x007D
_SENDER_NAME, _SENDER_ADDRESS, _SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
_TO, _CC, _SUBMITTED, _DELIVERED, _CODEPAGE = 0x0E04, 0x0E03, 0x0039, 0x0E06, 0x3FFD
_DATA, _LONG_NAME, _SHORT_NAME, _SHOWN_NAME = 0x3701, 0x3707, 0x3704, 0x3001
_METHOD, _HIDDEN, _FLAGS = 0x3705, 0x7FFE, 0x3714
# Types of [MS-OXCDATA] 2.11.1.
_STRING8, _UNICODE, _BINARY, _OBJECT, _LONG, _TIME, _BOOLEAN = 0x001E, 0x001F, 0x0102, 0x000D, 0x0003, 0x0040, 0x000B
# How an attachment is kept: an embedded message; its picture in the text; that it belongs to the HTML.
_EMBEDDED, _OLE, _IN_PAGE = 5, 6, 0x4
_ROOT_HEADER, _EMBEDDED_HEADER, _PART_HEADER, _PROPERTY_BYTES = 32, 24, 8, 16
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
# Messages attached to messages.
_LEVELS = 10
_ERRORS = (OSError, ValueError, IndexError, KeyError, struct.error, LookupError, TypeError, AttributeError)


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page. Raises `Rejected` (FILE_DAMAGED)."""
    with _opened(path, options) as file:
        yield from in_records(_pieces(_Store(file, (), _ROOT_HEADER), options))


def members(path: Path, options: Options) -> Iterator[Entry]:
    """What is attached; a message that is, as an EML of it. Raises as `extract`."""
    with _opened(path, options) as file:
        yield from _attached(_Store(file, (), _ROOT_HEADER), options)


def _opened(path: Path, options: Options) -> Any:
    try:
        return olefile.OleFileIO(path)
    except _ERRORS as error:
        raise Rejected(
            f"{options.name} is damaged: it cannot be read as an Outlook message. Upload it again.", code="FILE_DAMAGED"
        ) from error


class _Store:
    """The properties of a message, recipient or attachment: a storage of the file. What is damaged is not there."""

    def __init__(self, file: Any, where: tuple[str, ...], header_bytes: int) -> None:
        self._file, self.where = file, where
        self._fixed = self._read_fixed(header_bytes)

    def _read_fixed(self, header_bytes: int) -> Mapping[int, bytes]:
        data = self._stream("__properties_version1.0") or b""
        rows = range(header_bytes, len(data) - _PROPERTY_BYTES + 1, _PROPERTY_BYTES)
        return {struct.unpack_from("<I", data, row)[0]: data[row + 8 : row + 16] for row in rows}

    def _stream(self, name: str) -> bytes | None:
        try:
            with self._file.openstream([*self.where, name]) as stream:
                return bytes(stream.read())
        except _ERRORS:
            return None

    def number(self, id: int, kind: int = _LONG) -> int:  # noqa: A002 - MAPI's word
        return int.from_bytes(self._fixed.get(id << 16 | kind, b"")[:4], "little")

    def time(self, id: int) -> str:  # noqa: A002
        """A FILETIME: tenths of microseconds since 1601."""
        ticks = int.from_bytes(self._fixed.get(id << 16 | _TIME, b""), "little")
        try:
            return format_datetime(_EPOCH + timedelta(microseconds=ticks // 10)) if ticks else ""
        except OverflowError:
            return ""

    def binary(self, id: int) -> bytes | None:  # noqa: A002
        return self._stream(f"__substg1.0_{id:04X}{_BINARY:04X}")

    def text(self, *ids: int) -> str:
        """The first of these properties that says something."""
        for one in ids:
            if wide := self._stream(f"__substg1.0_{one:04X}{_UNICODE:04X}"):
                return wide.decode("utf-16-le", "replace").strip("\0")
            if narrow := self._stream(f"__substg1.0_{one:04X}{_STRING8:04X}"):
                return narrow.decode(self._codepage(), "replace").strip("\0")
        return ""

    def _codepage(self) -> str:
        try:
            return codecs.lookup(f"cp{self.number(_CODEPAGE) or 1252}").name
        except LookupError:
            return "utf-8" if self.number(_CODEPAGE) == 65001 else "cp1252"

    def storages(self, start: str) -> list[_Store]:
        """Those within it whose names begin so, in their order."""
        depth = len(self.where)
        names = {
            entry[depth]
            for entry in self._file.listdir(streams=False, storages=True)
            if len(entry) == depth + 1 and tuple(entry[:depth]) == self.where and entry[depth].startswith(start)
        }
        return [_Store(self._file, (*self.where, name), _PART_HEADER) for name in sorted(names)]

    def message(self) -> _Store | None:
        """The message that an attachment is."""
        name = f"__substg1.0_{_DATA:04X}{_OBJECT:04X}"
        if not self._file.exists([*self.where, name]):
            return None
        return _Store(self._file, (*self.where, name), _EMBEDDED_HEADER)


def _pieces(store: _Store, options: Options) -> Iterator[Piece]:
    subject, fields = store.text(_SUBJECT), _fields(store)
    return pieces(Mail(subject, fields, _body(store, options), list(_attached(store, options))), options)


def _fields(store: _Store) -> list[tuple[str, str]]:
    headers = message_from_string(store.text(_HEADERS), policy=policy.compat32)
    name, address = store.text(_SENDER_NAME), store.text(_SENDER_SMTP, _SENDER_ADDRESS)
    sender = f"{name} <{address}>" if "@" in address and address != name else name
    return [
        ("From", sender or str(headers.get("From", ""))),
        ("To", store.text(_TO)),
        ("Cc", store.text(_CC)),
        ("Date", str(headers.get("Date", "")) or store.time(_SUBMITTED) or store.time(_DELIVERED)),
    ]


def _body(store: _Store, options: Options) -> Iterator[Piece]:
    """Plain text, which Outlook mostly keeps beside the other; else HTML; else RTF."""
    if text := store.text(_BODY).strip():
        yield from plain(text)
    elif html := store.binary(_HTML):
        yield from markup(decoded(html, options))
    elif squeezed := store.binary(_RTF):
        try:
            yield from rtf.read(io.BytesIO(compressed_rtf.decompress(squeezed)))
        except _ERRORS:
            options.note(unreadable_body=True)


def _attached(store: _Store, options: Options) -> Iterator[Entry]:
    for number, one in enumerate(store.storages("__attach_version1.0_"), start=1):
        name = one.text(_LONG_NAME, _SHORT_NAME, _SHOWN_NAME)
        if one.number(_METHOD) == _EMBEDDED and (message := one.message()):
            subject = message.text(_SUBJECT) or name or "message"
            deep = "it lies too deep in other messages" if len(message.where) > 2 * _LEVELS else ""
            yield Entry(f"{subject[:100].replace('/', '_')}.eml", None, _Message(message, options), deep)
            continue
        data = one.binary(_DATA)
        refused = ""
        if one.number(_METHOD) == _OLE or one.number(_HIDDEN, _BOOLEAN) or one.number(_FLAGS) & _IN_PAGE:
            refused = "it belongs to the message's looks"
        yield Entry(name or f"attachment-{number}", None if data is None else len(data), _Bytes(data), refused)


@dataclass(frozen=True, slots=True)
class _Bytes:
    data: bytes | None

    def __call__(self) -> Iterator[bytes]:
        if self.data is None:
            raise Damaged("it cannot be read")
        yield self.data


@dataclass(frozen=True, slots=True)
class _Message:
    """An attached message, which has no bytes of its own: as an e-mail travels."""

    store: _Store
    options: Options

    def __call__(self) -> Iterator[bytes]:
        try:
            yield _mail(self.store, self.options).as_bytes()
        except _ERRORS as error:
            raise Damaged("it cannot be read") from error


def _mail(store: _Store, options: Options) -> EmailMessage:
    mail, digest = EmailMessage(), hashlib.sha256()
    for name, value in (("Subject", store.text(_SUBJECT)), *_fields(store)):
        # Outlook parts names by semicolons.
        if value := " ".join(value.replace(";", ",").split()):
            with contextlib.suppress(*_ERRORS):
                mail[name] = value
    mail.set_content("\n\n".join(piece.text for piece in _body(store, options)))
    for entry in _attached(store, options):
        if not entry.refused:
            with contextlib.suppress(Damaged):
                content = b"".join(entry.content())
                mail.add_attachment(content, "application", "octet-stream", filename=entry.name)
                digest.update(content)
    if mail.is_multipart():
        # Python's own is another each time, and the same message must stay the same bytes.
        mail.set_boundary(f"=_{digest.hexdigest()}")
    return mail
