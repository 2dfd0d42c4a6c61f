"""A network that can be broken: TCP proxies between our processes and a server, all served by one thread.

`hold` is a black hole as endpoints see one: nothing passes, nothing is refused, and what TCP would have sent again
passes when it ends. `cut` is a reset of every connection, and of every new one as long as it lasts.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import Any

UP, DOWN = "up", "down"  # to the server, and from it
BOTH = (UP, DOWN)

_PIECE_BYTES = 64 * 1024
# Between two looks whether a black hole is still there.
_LOOK_SECONDS = 0.02
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


class Network:
    """The thread that all proxies are served by."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._proxies: list[Proxy] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def proxy(self, server_port: int) -> Proxy:
        """A port of its own that leads to the server's."""
        proxy = Proxy(self.loop, server_port)
        self._proxies.append(proxy)
        asyncio.run_coroutine_threadsafe(proxy.listen(), self.loop).result(timeout=10)
        return proxy

    def close(self) -> None:
        for proxy in self._proxies:
            self.loop.call_soon_threadsafe(proxy.end)
        asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).result(timeout=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()


class Proxy:
    """All of it works on every connection, old and new, until `heal`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._loop = loop
        self._delay_seconds = dict.fromkeys(BOTH, 0.0)
        self._held: frozenset[str] = frozenset()
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None

    def delay(self, seconds: float, directions: Collection[str] = BOTH) -> None:
        """Every piece waits for so long."""
        self._delay_seconds |= dict.fromkeys(directions, seconds)

    def hold(self, directions: Collection[str] = BOTH) -> None:
        """Nothing passes in these directions."""
        self._held = frozenset(directions)

    def cut(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._is_cut = True
        self.reset()

    def reset(self) -> None:
        """Reset every connection, once."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def heal(self) -> None:
        self._delay_seconds = dict.fromkeys(BOTH, 0.0)
        self._held = frozenset()
        self._is_cut = False

    # From here on: the network's thread only.

    async def listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def end(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._abort_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours = [writer]
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            ours.append(back)
            self._writers.add(back)
            await asyncio.gather(self._pump(reader, back, UP), self._pump(there, writer, DOWN))
        except OSError:  # the server is away, or one side is: the other shall see it as such
            pass
        finally:
            for one in ours:
                _abort(one)
                self._writers.discard(one)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: str) -> None:
        try:
            while piece := await source.read(_PIECE_BYTES):
                if self._delay_seconds[direction]:
                    await asyncio.sleep(self._delay_seconds[direction])
                while direction in self._held:
                    await asyncio.sleep(_LOOK_SECONDS)
                sink.write(piece)
                await sink.drain()
            while direction in self._held:  # the end of a connection passes no black hole either
                await asyncio.sleep(_LOOK_SECONDS)
            with suppress(OSError, RuntimeError):
                sink.write_eof()
        except OSError:
            _abort(sink)
            raise

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    sock: Any = writer.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
