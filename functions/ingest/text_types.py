"""Which texts are more than texts: e-mails, JSON, XML by how they begin, source code by its name as well."""

from __future__ import annotations

import codecs
import re

import msgspec

from functions.extractors import CODE, EML, JSON, JSONL, XML, Format

_FIELD = re.compile(rb"([!-9;-~]{1,70}):[ \t]?")
# Of RFC 5322 and of those that mail servers add before them.
_FIELDS = frozenset(
    (
        *(b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"sender", b"received"),
        *(b"return-path", b"delivered-to", b"mime-version", b"content-type", b"dkim-signature", b"x-mailer"),
    )
)
# Any number of these, which every program on the way adds.
_ADDED = (b"x-", b"arc-", b"list-", b"authentication-", b"received-", b"dkim-")
# So many of them, and a mail's author, are no accident in a file that does not say that it is one.
_FIELDS_ENOUGH = 3
_OBJECT = re.compile(rb'(\{\s*"[^"]*"\s*:|\{\s*\}\s*\Z|\[\s*[\[{"]|\[\s*\]\s*\Z)')
_VALUE = re.compile(rb'[\[{"0-9tfn-]')
_SPACE = b"\xef\xbb\xbf \t\r\n"


def is_mail(head: bytes, suffix: str) -> bool:
    """Whether it begins with an e-mail's header; of a file that is named so, one of its fields is enough."""
    names = {name for name in _field_names(head) if not name.startswith(_ADDED)}
    known = names & _FIELDS
    if suffix in EML.suffixes:
        return bool(known)
    is_likely = len(known) >= _FIELDS_ENOUGH and b"from" in known and len(known) * 2 > len(names)
    return is_likely and suffix not in CODE.suffixes


def _field_names(head: bytes) -> set[bytes]:
    """Of the lines up to the first empty one; none where one of them is no field and goes on with none."""
    names: set[bytes] = set()
    for line in head.lstrip(_SPACE).split(b"\n"):
        if not line.strip():
            break
        if line[:1] in b" \t" or (not names and line.startswith((b"From ", b">From "))):
            continue
        field = _FIELD.match(line)
        if field is None:
            return names if names and line == head.rpartition(b"\n")[2] else set()
        names.add(field[1].lower())
    return names


def kind_of(head: bytes, suffix: str) -> Format | None:
    """JSON, JSON Lines, XML or source code; None: a text like any other."""
    start = _as_utf8(head).lstrip(_SPACE)
    if suffix in CODE.suffixes:
        return CODE
    if start.startswith(b"<?xml") or (suffix in XML.suffixes and start.startswith(b"<")):
        return XML
    if _OBJECT.match(start) or (suffix in (*JSON.suffixes, *JSONL.suffixes) and _VALUE.match(start)):
        return JSONL if _has_lines(start, suffix) else JSON
    return None


def _has_lines(start: bytes, suffix: str) -> bool:
    """Whether the first line is a value by itself, and another follows; one alone is as its name says."""
    first, _, rest = start.partition(b"\n")
    try:
        msgspec.json.decode(first)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return suffix in JSONL.suffixes
    return bool(_VALUE.match(rest.lstrip())) or suffix in JSONL.suffixes


def _as_utf8(head: bytes) -> bytes:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", "replace").encode()
    return head
