"""Between the store and our webhook: hands notifications on, or loses, doubles, delays and shuffles them.

It stands at the address that the store was told. It is also how a store's clock is set back: the JuiceFS gateway is a
Go program, which asks the kernel for the time and not the library that faketime replaces, so what such a store would
say is said here.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

_PATH = "/events/s3"
_TIMEOUT_SECONDS = 5
_TRY_AGAIN_SECONDS = 0.2


class Courier:
    """`mode`: pass, refuse (503, so that the store's fast lane has lost it), lose (200, so that both have), double,
    shuffle (200, handed on by `release`, in any order), back (the store's clock is `back_seconds` slow)."""

    back_seconds = 600

    def __init__(self, port: int, api_port: int, token: str, seed: int) -> None:
        self.mode = "pass"
        self.lost = 0
        self._url = f"http://127.0.0.1:{api_port}{_PATH}"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._kept: list[bytes] = []
        self._seen: list[bytes] = []
        self._http = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self.take))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="courier", daemon=True).start()

    def take(self, body: bytes) -> int:
        """A notification from the store; the status that it is answered."""
        match self.mode:
            case "refuse":
                return 503
            case "lose":
                self.lost += 1
                return 200
            case "shuffle":
                with self._lock:
                    self._kept.append(body)
                return 200
            case "back":
                body = _earlier(body, self.back_seconds)
        with self._lock:
            self._seen.append(body)
        if self.mode == "double":
            self._send(body)
        return self._send(body)

    def release(self) -> int:
        """Hand on what was kept back, in any order; how many. What was answered 200 is no more the store's to repeat,
        so each is tried until it is taken."""
        with self._lock:
            kept, self._kept = self._kept, []
        self._random.shuffle(kept)
        self._deliver(kept)
        return len(kept)

    def replay(self, most: int = 100) -> int:
        """Hand on once more, in any order, what was handed on before; how many."""
        with self._lock:
            again = self._random.sample(self._seen, min(most, len(self._seen)))
        self._deliver(again)
        return len(again)

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._http.close()

    def _deliver(self, bodies: list[bytes]) -> None:
        for body in bodies:
            while self._send(body) != 200 and not self._closing.wait(_TRY_AGAIN_SECONDS):
                pass

    def _send(self, body: bytes) -> int:
        try:
            return self._http.post(self._url, content=body, headers=self._headers).status_code
        except httpx.TransportError:
            return 503


def _earlier(body: bytes, seconds: float) -> bytes:
    """The notification as a store whose clock is so slow would have sent it. MinIO's sequencer: nanoseconds in hex."""
    told = json.loads(body)
    for record in told.get("Records", []):
        found = record["s3"]["object"]
        if sequencer := found.get("sequencer"):
            found["sequencer"] = f"{int(sequencer, 16) - int(seconds * 1e9):X}"
    return json.dumps(told).encode()


def _handler(take: Callable[[bytes], int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = take(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self._answer(status)

        def do_HEAD(self) -> None:
            self._answer(200)

        do_GET = do_HEAD  # noqa: N815

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """The round's report says what is worth saying."""

    return Handler
