"""What no text may hold that leaves the jail."""

from __future__ import annotations

import re

# A half of a pair is no character in any encoding, and Postgres takes no zero.
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def writable(text: str) -> str:
    return _UNWRITABLE.sub("", text)
