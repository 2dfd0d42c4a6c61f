"""Names of files as clients say them, made fit to be part of a key."""

from __future__ import annotations

import mimetypes
import unicodedata

from common.errors import RequestError

# A path component on most file systems, which some stores keep objects on.
_NAME_BYTES = 255
_UNKNOWN_TYPE = "application/octet-stream"


def clean_filename(name: str) -> str:
    """The last component of the name, composed (NFC), without control characters, cut to what stores can keep.

    Raises `RequestError` (INVALID_FILENAME) if nothing is left.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cs")).strip()
    if clean in ("", ".", ".."):
        raise RequestError(f"{name!r} is not a file name.", code="INVALID_FILENAME")
    stem, dot, extension = clean.rpartition(".")
    if not stem or len(extension) > 16:
        stem, dot, extension = clean, "", ""
    room = _NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def guess_type(name: str) -> str:
    """A content type by the name; what the document is will be judged by its content."""
    return mimetypes.guess_type(name)[0] or _UNKNOWN_TYPE
