"""E-mails as text, whatever format they were kept in: subject, who wrote to whom and when, message, attachments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from functions.extractors import Options, html
from functions.members import Entry, listed
from functions.pieces import Piece

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


@dataclass(frozen=True, slots=True)
class Mail:
    """`fields`: names and values, as From; `body`: what `plain` or `markup` make; `attached`: with their contents."""

    subject: str
    fields: Sequence[tuple[str, str]]
    body: Iterable[Piece]
    attached: Sequence[Entry]


def pieces(mail: Mail, options: Options) -> Iterator[Piece]:
    """The subject is its heading; what is attached is listed at its end. Notes `title`, and what `listed` notes."""
    if mail.subject:
        options.note(title=mail.subject)
    yield Piece(mail.subject or options.name, "heading", 1)
    yield from (Piece(f"{name}: {value}", "row") for name, value in mail.fields if value)
    yield from mail.body
    if mail.attached:
        yield Piece("Attachments", "heading", 2)
        yield from listed(mail.attached, options)


def plain(text: str) -> Iterator[Piece]:
    """A message without markup, in its paragraphs."""
    for paragraph in _BLANK_LINES.split(text.replace("\r\n", "\n")):
        yield Piece(paragraph.strip("\n").rstrip())


def markup(text: str) -> Iterator[Piece]:
    """A message in HTML, without its title, which is nobody's words."""
    return iter(html.read(text)[1])
