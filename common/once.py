"""What is opened when it is first used, once for all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator
    """Like functools.cached_property, which has no lock from Python 3.12 on: threads must share what is opened.

    The class has an `opening`: one `RLock()` an instance, since what is opened may open what it needs.
    """

    def __init__(self, opened: Callable[[Any], T]) -> None:
        self._open, self._name = opened, opened.__name__

    def __get__(self, instance: Any, owner: type[Any]) -> T:
        with instance.opening:
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._open(instance)  # from now on Python looks there first
            found: T = instance.__dict__[self._name]
            return found
