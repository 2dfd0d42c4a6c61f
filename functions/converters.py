"""Programs of the machine that make text of what no library here reads. They run in the jail (common/jail.py).

LibreOffice is none of them: it starts processes and threads and writes a profile, and the jail is there to forbid that.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from common.errors import Rejected
from functions.extractors import DOC, FORMATS


@dataclass(frozen=True, slots=True)
class Converter:
    """A program, its arguments before the file's path, and the files that it reads. It prints UTF-8."""

    program: str
    arguments: tuple[str, ...]
    data: tuple[str, ...]


CONVERTERS = {
    DOC.media_type: (
        Converter("catdoc", ("-d", "utf-8", "-w"), ("/usr/share/catdoc", "/etc/catdocrc")),
        Converter("antiword", ("-m", "UTF-8.txt", "-w", "0"), ("/usr/share/antiword",)),
    )
}


def converter(media_type: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command of the first that is there, and its files. Raises `Rejected` (CONVERTER_MISSING)."""
    for one in CONVERTERS[media_type]:
        if path := shutil.which(one.program):
            return (path, *one.arguments), one.data
    programs = " or ".join(one.program for one in CONVERTERS[media_type])
    raise Rejected(
        f"{name} is a {FORMATS[media_type].name}: to read it, the workers' machine needs {programs}, which is not "
        "installed. Install it and process the document again, or save it as DOCX and upload that.",
        code="CONVERTER_MISSING",
    )
