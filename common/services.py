"""The servers and the model, each opened when first used: a worker that only extracts never loads the model."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

from common.db import Database
from common.embedding import Embedder, Tokens
from common.index import Index
from common.jail import Jail
from common.objects import ObjectStore
from common.settings import Settings

T = TypeVar("T")


class _once(Generic[T]):  # noqa: N801 - a decorator
    """Like functools.cached_property, which has no lock from Python 3.12 on: threads must share what is opened."""

    def __init__(self, opened: Callable[[Services], T]) -> None:
        self._open, self._name = opened, opened.__name__

    def __get__(self, services: Services, owner: type[Services]) -> T:
        with services.opening:
            if self._name not in services.__dict__:
                services.__dict__[self._name] = self._open(services)  # from now on Python looks there first
            found: T = services.__dict__[self._name]
            return found


class Services:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.opening = RLock()  # the embedder opens the tokens

    @_once
    def database(self) -> Database:
        return Database(self.settings)

    @_once
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings)

    @_once
    def tokens(self) -> Tokens:
        return Tokens(self.settings.model_dir)

    @_once
    def embedder(self) -> Embedder:
        return Embedder(self.settings.model_dir, threads=self.settings.embedding_threads, tokens=self.tokens)

    @_once
    def index(self) -> Index:
        return Index(self.settings)

    @_once
    def jail(self) -> Jail:
        return Jail()

    def close(self) -> None:
        """Close whatever was opened."""
        for name in ("jail", "index", "embedder", "database"):
            if name in self.__dict__:
                self.__dict__[name].close()
