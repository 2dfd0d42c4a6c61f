"""A load of HTTP requests, cheap enough to share two cores with what it measures: raw bytes over kept connections.

A client made for comfort costs a millisecond a request, which would be most of what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.bench.system import BenchFailed

_HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """`seconds`: from the first request to the last answer. `latencies`: of each request, in milliseconds."""

    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


def post_request(path: str, body: bytes, key: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Each connection sends its next request as soon as the last is answered."""

    async def drive() -> Load:
        latencies: list[float] = []
        began = time.monotonic()

        async def one(ask: Callable[[], Awaitable[None]]) -> None:
            while time.monotonic() - began < seconds:
                sent = time.monotonic()
                await ask()
                latencies.append((time.monotonic() - sent) * 1000)

        await _each(port, request, connections, one)
        return Load(time.monotonic() - began, latencies)

    return asyncio.run(drive())


def at_rate(port: int, request: bytes, *, connections: int, per_second: float, seconds: float) -> Load:
    """Requests at fixed times. One that finds no free connection waits, and that counts as its latency."""

    async def drive() -> Load:
        latencies: list[float] = []
        count = int(per_second * seconds)
        numbers = iter(range(count))
        began = time.monotonic()

        async def one(ask: Callable[[], Awaitable[None]]) -> None:
            for number in numbers:
                due = began + number / per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await ask()
                latencies.append((time.monotonic() - due) * 1000)

        await _each(port, request, connections, one)
        return Load(time.monotonic() - began, latencies)

    return asyncio.run(drive())


async def _each(
    port: int, request: bytes, connections: int, one: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
) -> None:
    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def ask() -> None:
            writer.write(request)
            head = await reader.readuntil(_HEADERS_END)
            if not head.startswith(b"HTTP/1.1 201"):
                raise BenchFailed(f"The server answered: {head.splitlines()[0].decode()}")
            await reader.readexactly(_length(head))

        try:
            await one(ask)
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(connection())


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == b"content-length"), 0)
