"""Stand-ins for what a step's context offers, over plain files and words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from common.context import Context, Target
from common.errors import Rejected
from common.objects import demand_size
from common.records import Pin
from common.services import Services
from common.settings import Settings

_PIECE_BYTES = 1000


class MemoryObjects:
    """The part of `ObjectStore` that functions use, over one object's bytes (None: it is gone) or file."""

    def __init__(self, content: bytes | Path | None) -> None:
        self._content = content

    def _bytes(self) -> bytes:
        if self._content is None:
            raise Rejected("The object is no longer there.", code="OBJECT_GONE")
        return self._content.read_bytes() if isinstance(self._content, Path) else self._content

    def pin(self, target: Target, max_bytes: int) -> Pin:
        size = len(self._bytes())
        demand_size(target.name, size, max_bytes)
        return Pin(target.bucket, target.key, target.etag, size)

    def read_range(self, pin: Pin, start: int, length: int) -> bytes:
        return self._bytes()[start : start + length]

    def stream(self, pin: Pin, start: int) -> Iterator[bytes]:
        content = self._bytes()
        yield from (content[at : at + _PIECE_BYTES] for at in range(start, len(content), _PIECE_BYTES))

    def download(self, pin: Pin, path: Path, check: Callable[[], None]) -> None:
        path.write_bytes(self._bytes())


class NoDatabase:
    """Transactions in which nothing is found and nothing is kept."""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        yield SimpleNamespace(execute=lambda *_: SimpleNamespace(scalar_one_or_none=lambda: None))


class Words:
    """The model's tokenizer, but a token is a word or a Chinese character: one can count them by hand."""

    max_tokens = 500

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [found.span() for found in re.finditer(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)]

    def count(self, text: str) -> int:
        return len(self.spans(text))


def context(name: str = "document.txt", **services: Any) -> Context:
    """A context for the object `name`; services not given are missing, except settings."""
    services.setdefault("settings", Settings())
    target = Target("task", "document", 1, "base", name, "bucket", f"incoming/{name}", "etag")
    return Context(target, cast("Services", SimpleNamespace(**services)))
