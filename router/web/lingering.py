"""A refusal that its client gets to read although nobody reads the request's body to its end.

Who closes a connection on which bytes still come resets it, and the answer that lies unread on the other side is lost
with it. So the answer goes out whole, then what comes for a moment is passed over, and only then it is over.
"""

from __future__ import annotations

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

# Longer than an answer is on its way. A client that goes on sending blindly is not worth more.
_SECONDS = 1.0
_BYTES = 16 << 20


class LingeringResponse(Response):
    """Of a response that closes the connection."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, response.status_code)
        self.raw_headers = response.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_linger(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({**message, "more_body": True})
            with anyio.move_on_after(_SECONDS):
                await _pass_over(receive)
            await send({"type": "http.response.body", "body": b""})

        await super().__call__(scope, receive, send_and_linger)


async def _pass_over(receive: Receive) -> None:
    size = 0
    while size < _BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
