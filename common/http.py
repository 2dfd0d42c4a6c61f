"""A request and its answer as plain values, so that an endpoint is a function that a test can call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from common.errors import Conflict, RequestError
from common.pipelines import Pipeline
from common.principal import Principal
from common.redriving import PutBack
from common.services import Services
from common.steps import StepRef
from common.untrusted import UNREADABLE, holds_nul

T = TypeVar("T")

# Takes the steps whose messages are to go out.
Send = Callable[[Sequence[StepRef]], None]


def leave_to_the_relay(_refs: Sequence[StepRef]) -> None:
    """The scheduler sends what nobody has sent: later, and no less surely."""


def put_back_nowhere(queue: str, _body: bytes) -> None:
    raise Conflict(f"There is no queue {queue!r} here.", code="UNKNOWN_QUEUE")


@dataclass(frozen=True, slots=True)
class Call:
    """`caller` is who asks. `path`: the path's parameters by name. `address`: the client's, as the server saw it.

    `send`: for steps that the call has made ready, once its transaction is over. `put_back`: for dead letters.
    """

    services: Services
    pipelines: Mapping[str, Pipeline]
    caller: Principal
    path: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    send: Send = leave_to_the_relay
    put_back: PutBack = put_back_nowhere


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """`body` is anything that msgspec encodes as JSON. `status` None: the one of the endpoint's line in the table."""

    body: T
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def decode_body(body: bytes, shape: type[T]) -> T:
    """A JSON body as `shape`; a `RequestError` that names the field where it is not."""
    try:
        decoded = msgspec.json.decode(body, type=shape)
    except UNREADABLE as error:
        raise RequestError(f"The body is not what this call takes: {error}", code="INVALID_BODY") from error
    if holds_nul(body):
        raise RequestError("The body holds a NUL character, which no text may.", code="INVALID_BODY")
    return decoded


def decode_query(parameters: Sequence[tuple[str, str]], shape: type[T]) -> T:
    """A query's parameters as `shape`, their texts read as numbers, times and truths where it wants those.

    Times come out in UTC: Postgres knows fewer offsets from it than Python does.
    """
    query = dict(parameters)
    if len(query) < len(parameters):
        raise RequestError("A parameter of the query is given more than once.", code="INVALID_QUERY")
    try:
        decoded = msgspec.convert(query, shape, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"The query is not what this call takes: {error}", code="INVALID_QUERY") from error
    known = {field.encode_name: field.name for field in msgspec.structs.fields(cast("type[msgspec.Struct]", shape))}
    if unknown := sorted(query.keys() - known.keys()):
        raise RequestError(
            f"This call takes no parameter {unknown[0]!r}, but: {', '.join(sorted(known))}.", code="INVALID_QUERY"
        )
    if any("\0" in value for value in query.values()):
        raise RequestError("The query holds a NUL character, which no text may.", code="INVALID_QUERY")
    values = {known[name]: _plain(name, text, getattr(decoded, known[name])) for name, text in query.items()}
    return cast("T", msgspec.structs.replace(cast("msgspec.Struct", decoded), **values))


def _plain(name: str, text: str, value: Any) -> Any:
    """A parameter's value, unless only msgspec takes it for what was wanted: `null`, `NaN`, 0.5 as a time."""
    match value:
        case datetime() if ":" in text:
            with suppress(OverflowError):  # in the first or the last hours that there are
                return value.astimezone(UTC)
        case float() if math.isfinite(value):
            return value
        case None | datetime() | float():
            pass
        case _:
            return value
    raise RequestError(f"The parameter {name!r} has no value that this call takes.", code="INVALID_QUERY")
