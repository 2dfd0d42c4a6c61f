"""What runs in the jail: an extractor's pages, as JSON Lines, into the output file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from functions.extractors import FORMATS, Extractor, Options
from functions.extractors.written import writable
from functions.pieces import records_of

TARGET = "functions.extractors.jailed:extract"

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
    given = Options(**{name: value for name, value in options.items() if name != "media_type"})
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
