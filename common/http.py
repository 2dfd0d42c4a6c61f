"""A request and its answer as plain values, so that an endpoint is a function that a test can call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from common.errors import RequestError
from common.pipelines import Pipeline
from common.security import Principal
from common.services import Services
from common.untrusted import UNREADABLE, holds_nul

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """`caller` is who asks. `path` and `query`: the parameters by name."""

    services: Services
    pipelines: Mapping[str, Pipeline]
    caller: Principal
    body: bytes = b""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def decode(self, shape: type[T]) -> T:
        """The JSON body as `shape`; a `RequestError` that names the field where it is not."""
        try:
            decoded = msgspec.json.decode(self.body, type=shape)
        except UNREADABLE as error:
            raise RequestError(f"The body is not what this call takes: {error}", code="INVALID_BODY") from error
        if holds_nul(self.body):
            raise RequestError("The body holds a NUL character, which no text may.", code="INVALID_BODY")
        return decoded


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is anything that msgspec encodes as JSON."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
