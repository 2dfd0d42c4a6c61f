"""What steps hand to each other: streams of records as JSON Lines, small ones in the step's row, others in the store.

Keys are deterministic, so a second run of a step overwrites what the first one made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol, TypeVar, cast

import msgspec

from common import disk
from common.errors import BrigadeError

T = TypeVar("T")

_NEWLINE = b"\n"


class Store(Protocol):
    """The part of common.objects.ObjectStore that artifacts need."""

    bucket: str

    def put_stream(self, key: str, stream: IO[bytes], size: int) -> None: ...
    def lines(self, key: str, span: tuple[int, int] | None) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """Exactly one of `inline` and `key` is set. `span`: only its bytes [first, last)."""

    inline: bytes | None = None
    key: str | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """`cuts`: the byte after each so many records, and the end; empty where not asked for."""

    artifact: Artifact
    cuts: tuple[int, ...] = ()


def key_of(task_id: str, step_name: str, batch: int) -> str:
    """The key of what a step makes; its pinned input is `pin_key`."""
    return f"{prefix_of(task_id, step_name)}{batch}.jsonl"


def prefix_of(task_id: str, step_name: str) -> str:
    return f"artifacts/{task_id}/{step_name}/"


def pin_key(task_id: str) -> str:
    return f"artifacts/{task_id}/pin"


def write(
    store: Store,
    key: str,
    records: Iterable[object],
    *,
    inline_bytes: int,
    spool_dir: str | None = None,
    cut_records: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Written:
    """Write the records as they come, in constant memory; up to `inline_bytes` stay in the artifact itself.

    `spool_dir`: where larger ones are kept until they are sent; None: the system's place for such files.
    `check` is called while it is being sent to the store, and may raise. Raises `DiskFull` where the disk is, also for
    whoever makes the records.
    """
    encode = msgspec.json.encode
    cuts: list[int] = []
    count = position = 0
    with disk.translated(), tempfile.SpooledTemporaryFile(max_size=max(inline_bytes, 1), dir=spool_dir) as spool:
        for record in records:
            line = encode(record) + _NEWLINE
            spool.write(line)
            position += len(line)
            count += 1
            if cut_records and count % cut_records == 0:
                cuts.append(position)
        if cut_records and position not in cuts[-1:]:
            cuts.append(position)
        spool.seek(0)
        if position <= inline_bytes:
            return Written(Artifact(inline=spool.read()), tuple(cuts))
        store.put_stream(key, cast("IO[bytes]", _Watched(spool, check)), position)
    return Written(Artifact(key=key), tuple(cuts))


class _Watched:
    """A file whose readers learn in time that nobody wants it any more."""

    def __init__(self, file: tempfile.SpooledTemporaryFile[bytes], check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._file.read(size)


def read(store: Store, artifacts: Sequence[Artifact], record_type: type[T]) -> Iterator[T]:
    """The records of all the artifacts, in order, one at a time."""
    decoder = msgspec.json.Decoder(record_type)
    for artifact in artifacts:
        for line in _lines(store, artifact):
            yield decoder.decode(line)


def _lines(store: Store, artifact: Artifact) -> Iterator[bytes]:
    if artifact.span == (0, 0):
        return iter(())
    if artifact.inline is not None:
        whole = artifact.inline
        return iter((whole[slice(*artifact.span)] if artifact.span else whole).splitlines())
    if artifact.key is None:
        raise BrigadeError("An artifact has neither content nor a key.", code="ARTIFACT_EMPTY")
    return store.lines(artifact.key, artifact.span)
