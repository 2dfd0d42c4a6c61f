"""What runs in the jail: a document's pages, as JSON Lines, into the output file; or its members, in frames."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from functions import framing, members
from functions.extractors import FORMATS, Extractor, Options
from functions.extractors.written import writable
from functions.pieces import records_of

# Parsers are imported here and now: the zygote imports this module once, and each child has them for nothing.
EXTRACTORS: Mapping[str, Extractor] = {
    media_type: importlib.import_module(kind.module).extract for media_type, kind in FORMATS.items()
}


def extract(source: Path, output: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document's pages, one at a time. Options: media_type, and what `Options` has.

    Returns the extractor's notes with `pages`, `characters`, `blank`: whether all of it is white space, and `scans`,
    if there are any: numbers of pages for OCR, each with how many characters it has now. Raises `Rejected` at the
    first page or character beyond what a document may have.
    """
    given = _given(options)
    encode = msgspec.json.Encoder().encode
    last = characters = 0
    scans: dict[int, int] = {}
    blank = True
    with output.open("wb") as lines:
        for page in EXTRACTORS[options["media_type"]](source, given):
            last = page.number
            given.demand(pages=last)
            blank = blank and not page.text.strip()
            if page.number in given.scans[-1:]:
                scans[page.number] = scans.get(page.number, 0) + len(page.text)
            for record in records_of(page, writable):
                characters += len(record.text)
                given.demand(characters=characters)
                lines.write(encode(record) + b"\n")
    noted = {name: writable(note) if isinstance(note, str) else note for name, note in given.details.items()}
    found = {"scans": list(scans.items())} if scans else {}
    return {"pages": last, "characters": characters, "blank": blank, **noted, **found}


def unfold(source: Path, output: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document's members that are taken, as functions/framing.py does. Returns their `members` and `bytes`.

    Options as for `extract`. Raises `Rejected` as that does.
    """
    given = _given(options)
    entries = importlib.import_module(FORMATS[options["media_type"]].module).members(source, given)
    with output.open("wb") as file:
        taken = [one for one in members.unfold(entries, given, framing.Writer(file)) if not one.refused]
    return {"members": len(taken), "bytes": sum(one.size or 0 for one in taken)}


def _given(options: Mapping[str, Any]) -> Options:
    return Options(**{name: value for name, value in options.items() if name != "media_type"})
