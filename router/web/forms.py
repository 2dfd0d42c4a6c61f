"""A file in a multipart form, handed on while it comes: never whole in memory, nor on disk.

While one part is on its way to the store the next is read, and then the client has to wait. Threads of their own send
the parts, so uploads take none from other calls.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import anyio
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from common.errors import BrigadeError, RequestError, RequestTimedOut, TooLarge, TooMany
from common.http import Call, Reply
from common.services import Services
from common.settings import Settings
from functions.http.streamed import DocumentUpload
from router.table import PIPELINES
from router.web.admission import admit
from router.web.credentials import address_of, credential
from router.web.endpoints import Form
from router.web.form_reader import FormReader
from router.web.lingering import LingeringResponse
from router.web.replies import error_reply, response

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_SECONDS = 5


def serve_form(line: Form, services: Services) -> Callable[[Request], Any]:
    settings = services.settings
    threads = ThreadPoolExecutor(settings.streamed_uploads, "streamed")
    slots = Slots(settings.streamed_uploads)

    async def answer(request: Request) -> Response:
        try:
            key = credential(request.headers)
            reader = _reader(request, settings)
            address = address_of(request)
            caller = await run_in_threadpool(admit, services, line.rule, key, request.path_params, address)
            upload = line.handler(Call(services, PIPELINES, caller, request.path_params, address))
            with slots.one(caller.user_id):
                reply = await Reception(upload, threads, settings).receive(request, reader)
        except BrigadeError as error:
            return LingeringResponse(response(_closing(error_reply(error)), request.method, line.path))
        return response(reply, request.method, line.path, line.status)

    return answer


class Slots:
    """So many uploads may pass at once, and half of them of one user: who sends slowly keeps others out no longer."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._of_user: Counter[str] = Counter()

    @contextmanager
    def one(self, user_id: str) -> Iterator[None]:
        """Raises `TooMany` if there is none for this user."""
        most = -(-self._count // 2)
        if self._of_user.total() >= self._count:
            raise TooMany(f"{self._count} uploads pass through this server already.", retry_after=_BUSY_SECONDS)
        if self._of_user[user_id] >= most:
            raise TooMany(f"{most} uploads of yours pass through this server already.", retry_after=_BUSY_SECONDS)
        self._of_user[user_id] += 1
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]


class Reception:
    """One form, from its first byte to its answer. Whatever goes wrong, nothing of it stays."""

    def __init__(self, upload: DocumentUpload, threads: ThreadPoolExecutor, settings: Settings) -> None:
        self._upload = upload
        self._threads = threads
        self._settings = settings
        self._flying: Future[Any] | None = None  # what a thread does for this upload
        self._part_bytes: int | None = None  # none: the file has not begun

    async def receive(self, request: Request, reader: FormReader) -> Reply[Any]:
        try:
            with anyio.fail_after(self._settings.upload_url_seconds):
                async for chunk in _steady(request, self._settings):
                    reader.feed(chunk)
                    await self._hand_on(reader)
            reader.close()
            return await self._do(self._upload.finish, reader.data, reader.fields)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._clear()
            if isinstance(error, TimeoutError):
                seconds = self._settings.upload_url_seconds
                raise RequestTimedOut(f"The upload was not over within {seconds:,} s.") from None
            if isinstance(error, ClientDisconnect):
                raise RequestError("The client went away.", code="CLIENT_GONE") from None
            raise

    async def _hand_on(self, reader: FormReader) -> None:
        """The parts that are full, each as soon as the one before it is in the store."""
        if self._part_bytes is None and reader.filename is not None:
            told = reader.content_type or ""
            self._part_bytes = await self._do(self._upload.begin, reader.filename, told, dict(reader.fields))
        while self._part_bytes is not None and len(reader.data) >= self._part_bytes:
            part = reader.take(self._part_bytes)
            await self._landed()
            self._flying = self._threads.submit(self._upload.write, part)

    async def _do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._landed()
        self._flying = flying = self._threads.submit(call, *args, **kwargs)
        await self._landed()
        return flying.result()

    async def _landed(self) -> None:
        if self._flying is not None:
            await asyncio.wrap_future(self._flying)
            self._flying = None

    async def _clear(self) -> None:
        if self._flying is not None:  # cancelled or failed while a thread was at it
            await asyncio.gather(asyncio.wrap_future(self._flying), return_exceptions=True)
        try:
            await asyncio.wrap_future(self._threads.submit(self._upload.abort))
        except BrigadeError as error:
            log.warning("upload.not_aborted", reason=error.message)


def _reader(request: Request, settings: Settings) -> FormReader:
    """Refuses by the headers what can be."""
    reader = FormReader(
        request.headers.get("content-type", ""),
        max_file_bytes=settings.max_document_bytes,
        max_field_bytes=settings.max_request_bytes,
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > _most_bytes(settings):
        raise _too_large(settings)
    return reader


async def _steady(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body as it comes; `RequestTimedOut` if it does not, `TooLarge` if it does not end."""
    pieces = request.stream()
    size = 0
    while True:
        try:
            with anyio.fail_after(settings.streamed_stall_seconds):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise RequestTimedOut(f"No byte came for {settings.streamed_stall_seconds:g} s.") from None
        if piece is None:
            return
        size += len(piece)
        if size > _most_bytes(settings):
            raise _too_large(settings)
        yield piece


def _most_bytes(settings: Settings) -> int:
    """Of a form: what it says beside the file may be as much as of any other request."""
    return settings.max_document_bytes + settings.max_request_bytes


def _too_large(settings: Settings) -> TooLarge:
    return TooLarge(f"This server takes files of up to {settings.max_document_bytes:,} bytes.")


def _closing(reply: Reply[Any]) -> Reply[Any]:
    """With the connection, as the rest of a refused body is not read: a client learns of it at once."""
    return Reply(reply.body, reply.status, {**reply.headers, "Connection": "close"})
