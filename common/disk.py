"""A full disk is the machine's fault and not the document's: what fails for it is put off until there is room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import DiskFull

# No space left, and no space left for this user.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    return error.errno in _FULL


@contextmanager
def translated() -> Iterator[None]:
    """The disk's word that it is full as ours, `DiskFull`."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull(f"A disk is full: {error}") from error
        raise
