"""What a function takes and makes, read from its annotations: they are its contract with its neighbours."""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import signature
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from common.errors import ConfigurationError
from common.pipelines import Pipeline

_STREAMS = (collections.abc.Iterable, collections.abc.Iterator)


@dataclass(frozen=True, slots=True)
class Side:
    """A record type, alone or as a stream of records. `record` is None where there is nothing."""

    record: type[Any] | None
    stream: bool = False

    def __str__(self) -> str:
        name = self.record.__name__ if self.record else "nothing"
        return f"a stream of {name}" if self.stream else name


@dataclass(frozen=True, slots=True)
class Signature:
    takes: Side
    makes: Side


@cache
def signature_of(function: Callable[..., Any]) -> Signature:
    """`def f(ctx: Context, pages: Iterable[Page]) -> Iterator[Chunk]` takes a stream of Page and makes one of Chunk."""
    hints = get_type_hints(function)
    parameters = list(signature(function).parameters)
    if not 1 <= len(parameters) <= 2 or "return" not in hints or any(name not in hints for name in parameters[1:]):
        raise ConfigurationError(
            f"{function.__module__}.{function.__name__} must be annotated `(ctx: Context[, input: T]) -> T or None`."
        )
    return Signature(
        takes=_side(hints[parameters[1]]) if len(parameters) == 2 else Side(None), makes=_side(hints["return"])
    )


def _side(hint: Any) -> Side:
    if hint is type(None):
        return Side(None)
    if get_origin(hint) in _STREAMS:
        return Side(get_args(hint)[0], stream=True)
    return Side(hint)


def _unique(kind: str, named: set[tuple[str, Callable[..., Any] | None]]) -> None:
    names = sorted(name for name, _ in named)
    for name, following in pairwise(names):
        if name == following:
            raise ConfigurationError(f"The {kind} {name} is two different functions in the table.")


def check(pipelines: Mapping[str, Pipeline]) -> None:
    """Every function gets what the step before it makes; else `ConfigurationError` naming the two.

    A step's name is its queue's, so it means one function everywhere; a function's name is what people call it by.
    """
    steps = [step for pipeline in pipelines.values() for step in pipeline.steps if step.function]
    _unique("step", {(step.name, step.function) for step in steps})
    _unique("function", {(step.function.__name__, step.function) for step in steps if step.function})
    for pipeline in pipelines.values():
        names = [step.name for step in pipeline.steps]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"{pipeline.name} names a step twice: {', '.join(names)}.")
        made, maker = Side(None), "the beginning"
        for step in pipeline.steps:
            if step.function is None:
                continue
            contract = signature_of(step.function)
            if contract.takes.record is not None and contract.takes != made:
                raise ConfigurationError(
                    f"{pipeline.name}: {step.name} takes {contract.takes}, but {maker} makes {made}."
                )
            if contract.makes.record is not None:
                made, maker = Side(contract.makes.record, contract.makes.stream), step.name
