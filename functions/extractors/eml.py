"""EML: an e-mail as it travels (RFC 5322, MIME), by the standard library's parser; nothing in it is taken on trust."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_binary_file, policy
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar, cast

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options, encodings
from functions.extractors.mails import Mail, markup, pieces, plain
from functions.extractors.text import decode_all
from functions.members import Damaged, Entry
from functions.pieces import Piece, in_records

T = TypeVar("T")

# Attached messages stay byte for byte what they were.
_POLICY = policy.default.clone(refold_source="none")
_FIELDS = ("From", "To", "Cc", "Date")
# Of parts within parts; what programs write has four or five.
_LEVELS = 30
_SUBJECT_CHARACTERS = 100
# What the parser of header fields raises for what is none, beside its own.
_ERRORS = (MessageError, ValueError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError)
_SIGNATURES = frozenset(("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"))


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page. Raises `Rejected` (FILE_DAMAGED)."""
    message = _read(path, options)
    parts = _sorted(message)
    subject, *values = (_field(message, name) for name in ("Subject", *_FIELDS))
    fields = list(zip(_FIELDS, values, strict=True))
    body = (piece for part in parts.texts for piece in _text(part, options))
    yield from in_records(pieces(Mail(subject, fields, body, parts.attached), options))


def members(path: Path, options: Options) -> Iterator[Entry]:
    """What is attached. Raises as `extract`."""
    yield from _sorted(_read(path, options)).attached


def _read(path: Path, options: Options) -> EmailMessage:
    try:
        with path.open("rb") as file:
            return message_from_binary_file(file, policy=_POLICY)
    except (*_ERRORS, RecursionError) as error:
        raise Rejected(
            f"{options.name} cannot be read as an e-mail: its parts are damaged, or nested without end.",
            code="FILE_DAMAGED",
        ) from error


@dataclass(slots=True)
class _Parts:
    texts: list[EmailMessage] = field(default_factory=list)
    attached: list[Entry] = field(default_factory=list)

    def attach(self, part: EmailMessage, refused: str = "") -> None:
        name = _name(part, len(self.attached) + 1)
        self.attached.append(Entry(name, None, _Content(part), refused))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part stands. `spoken`: its text is the message; `shown`: it belongs to a page, as its pictures do."""

    part: EmailMessage
    level: int = 0
    spoken: bool = True
    shown: bool = False


def _sorted(message: EmailMessage) -> _Parts:
    """What is text of the message, and what is attached to it, in their order; without recursion."""
    parts = _Parts()
    stack = [_Place(message)]
    while stack:
        place = stack.pop()
        part, kind = place.part, _type(place.part)
        if part.is_multipart() and kind != "message/rfc822":
            if place.level == _LEVELS:
                parts.attach(part, "it lies deeper in other parts than any program puts it")
            else:
                stack.extend(reversed(_within(place, kind)))
        elif _disposition(part) != "attachment" and _is_text(part, kind):
            if place.spoken:
                parts.texts.append(part)
        elif kind in _SIGNATURES:
            parts.attach(part, "it is a signature")
        elif place.shown and _disposition(part) != "attachment":
            parts.attach(part, "it belongs to the message's looks")
        else:
            parts.attach(part)
    return parts


def _within(place: _Place, kind: str) -> list[_Place]:
    children = [one for one in cast("list[EmailMessage]", place.part.get_payload()) if hasattr(one, "is_multipart")]
    level = place.level + 1
    if kind == "multipart/alternative":
        spoken = _best(children)
        return [_Place(one, level, place.spoken and one is spoken, place.shown) for one in children]
    if kind == "multipart/related":
        return [_Place(one, level, place.spoken, place.shown or number > 0) for number, one in enumerate(children)]
    return [_Place(one, level, place.spoken, place.shown) for one in children]


def _best(alternatives: list[EmailMessage]) -> EmailMessage | None:
    """Plain text that says something, else what the sender thought best, which comes last."""
    for one in alternatives:
        if _type(one) == "text/plain" and (_payload(one) or b"").strip():
            return one
    texts = [one for one in alternatives if one.is_multipart() or _is_text(one, _type(one))]
    return texts[-1] if texts else None


def _is_text(part: EmailMessage, kind: str) -> bool:
    is_named = _guarded(lambda: part.get_filename(""), "")
    return kind in ("text/plain", "text/html", "message/delivery-status") and not is_named


def _text(part: EmailMessage, options: Options) -> Iterator[Piece]:
    data = _payload(part) or b""
    try:
        text = decode_all(data, options, label=_guarded(part.get_content_charset, None))
    except Rejected:
        text = data.decode("utf-8", "replace")
    yield from markup(text) if _type(part) == "text/html" else plain(text)


class _Content:
    def __init__(self, part: EmailMessage) -> None:
        self._part = part

    def __call__(self) -> Iterator[bytes]:
        data = _payload(self._part)
        if data is None:
            raise Damaged("it cannot be read")
        yield data


def _payload(part: EmailMessage) -> bytes | None:
    """A part's bytes; of an attached message, the message."""
    if _type(part) == "message/rfc822" and part.is_multipart():
        return _guarded(lambda: bytes(cast("list[EmailMessage]", part.get_payload())[0].as_bytes()), None)
    return _guarded(lambda: cast("bytes | None", part.get_payload(decode=True)), None)


def _name(part: EmailMessage, number: int) -> str:
    if name := _guarded(lambda: part.get_filename(""), ""):
        return str(name)
    kind = _type(part)
    if kind == "message/rfc822":
        inner = cast("list[EmailMessage]", part.get_payload()) if part.is_multipart() else []
        subject = _field(inner[0], "Subject") if inner else ""
        return f"{subject[:_SUBJECT_CHARACTERS].replace('/', '_') or 'message'}.eml"
    return f"attachment-{number}{mimetypes.guess_extension(kind) or ''}"


def _type(part: EmailMessage) -> str:
    return _guarded(part.get_content_type, "application/octet-stream")


def _disposition(part: EmailMessage) -> str | None:
    return _guarded(part.get_content_disposition, None)


def _field(message: EmailMessage, name: str) -> str:
    """A header field on one line. Bytes that should have been encoded are read as a text of their own."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    data = raw.encode("utf-8", "surrogateescape")
    if not raw:
        return ""
    if raw.isascii():
        text = _guarded(lambda: str(message[name]), raw)
    else:
        text = data.decode(encodings.detect(iter([data])), "replace")
    return " ".join(text.split())


def _guarded(call: Callable[[], T], otherwise: T) -> T:
    try:
        return call()
    except (*_ERRORS, RecursionError):
        return otherwise
