"""Lists that come in pages, as iterators: the next page is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from deploy.client.shapes import Page
from deploy.client.transport import Operation, Transport

T = TypeVar("T")


def items(api: Transport, operation: Operation[Page[T]], query: Mapping[str, Any], **path: str) -> Iterator[T]:
    cursor = None
    while True:
        page = api.call(operation, None, {**query, "cursor": cursor}, patient=False, **path)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
