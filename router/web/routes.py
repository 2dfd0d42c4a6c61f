"""Calls as Starlette routes them: one route a path, so that a refused method is told all that there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.http import Reply
from router.web.replies import response


@dataclass(frozen=True, slots=True)
class Served:
    """What answers one method of a path."""

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Response]]


def by_path(calls: Iterable[Served]) -> list[Route]:
    """HEAD is answered as GET is, without a body; OPTIONS tells the methods.

    Paths without parameters come first: `/documents/upload` is not the document of that id.
    """
    paths: dict[str, dict[str, Served]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method] = call
    return [_route(path, methods) for path, methods in sorted(paths.items(), key=lambda item: "{" in item[0])]


def _route(path: str, calls: dict[str, Served]) -> Route:
    allowed = ", ".join(sorted({*calls, "OPTIONS", *(["HEAD"] if "GET" in calls else [])}))

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return response(Reply(None, 204, {"Allow": allowed}), "OPTIONS", path)
        return await calls["GET" if request.method == "HEAD" else request.method].answer(request)

    return Route(path, answer, methods=[*calls, "OPTIONS"])
