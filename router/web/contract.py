"""What an endpoint takes and makes, from its handler's annotations: what decodes requests also documents them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from common.http import Call, Reply

_TAKES = ("body", "query")


@dataclass(frozen=True, slots=True)
class Contract:
    """`body` and `query`: the shapes that the handler asks for; None: it looks at neither."""

    body: Any
    query: Any
    answer: Any


@cache
def contract_of(handler: Callable[..., Any]) -> Contract:
    """Raises `TypeError` for a handler that asks for anything else."""
    hints = typing.get_type_hints(handler, include_extras=True)
    first, *others = inspect.signature(handler).parameters
    if hints.get(first) is not Call or not set(others) <= set(_TAKES) or "return" not in hints:
        raise TypeError(f"{handler.__qualname__} must be (call: Call, [body: …, query: …]) -> …, each annotated.")
    return Contract(hints.get("body"), hints.get("query"), answer_of(handler))


def answer_of(handler: Callable[..., Any]) -> Any:
    """The shape of what it answers, within a `Reply` or not; None: nothing."""
    answer = typing.get_type_hints(handler, include_extras=True)["return"]
    if typing.get_origin(answer) is Reply:
        (answer,) = typing.get_args(answer)
    return None if answer is type(None) else answer
