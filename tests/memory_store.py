"""The part of the object store that artifacts use, as a dict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO


class MemoryStore:
    bucket = "test"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_stream(self, key: str, stream: IO[bytes], size: int) -> None:
        self.objects[key] = stream.read()
        assert len(self.objects[key]) == size

    def lines(self, key: str, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        whole = self.objects[key]
        return iter((whole[slice(*span)] if span else whole).splitlines())

    def size_of_prefix(self, prefix: str) -> int:
        return sum(len(one) for key, one in self.objects.items() if key.startswith(prefix))
