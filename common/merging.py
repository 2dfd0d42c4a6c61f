"""One ordered merge of a bucket's listing with the documents that live under its keys.

Stores list by the bytes of whole keys; some, over file systems, folder by folder: "a/b" before "a-b". The order decides
what a merge costs, never what it finds: each pair that it yields is looked at again by its key alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from common.findings import Listed

Order = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A live document. `etag`: of what its newest version knows to be under the key; none: it was only announced."""

    key: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """What the bucket and the documents say of a key; at least one says something."""

    listed: Listed | None
    kept: Kept | None

    @property
    def agrees(self) -> bool:
        if self.listed is None:  # an upload that was announced need not be there yet
            return self.kept is None or self.kept.etag is None
        return self.kept is not None and self.kept.etag == self.listed.found.etag


class Misordered(Exception):
    """The listing is not in the order that was expected of it."""


def by_bytes(key: str) -> str:
    """Code points compare as their UTF-8 does."""
    return key


def by_folder(key: str) -> str:
    """Equal for keys that hold U+0001; such a pair is only looked at once more often than need be."""
    return key.replace("/", "\x01")


def merge(listing: Iterable[Listed], documents: Iterable[Kept], order: Order, *, strict: bool) -> Iterator[Pair]:
    """Both come in this order; the documents do. In constant memory.

    `strict`: raise `Misordered` when the listing goes backwards. Else what it then tells of comes without its document,
    and documents that were passed over come without an object.
    """
    waiting = iter(documents)
    kept = next(waiting, None)
    latest = ""
    for one in listing:
        place = order(one.key)
        if place < latest:
            if strict:
                raise Misordered
        else:
            latest = place
        while kept is not None and order(kept.key) < place:
            yield Pair(None, kept)
            kept = next(waiting, None)
        if kept is not None and kept.key == one.key:
            yield Pair(one, kept)
            kept = next(waiting, None)
        else:
            yield Pair(one, None)
    while kept is not None:
        yield Pair(None, kept)
        kept = next(waiting, None)
