"""The servers and the model, each opened when first used: a worker that only extracts never loads the model."""

from __future__ import annotations

from functools import cached_property

from common.db import Database
from common.embedding import Embedder, Tokens
from common.index import Index
from common.jail import Jail
from common.objects import ObjectStore
from common.settings import Settings


class Services:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        return Database(self.settings)

    @cached_property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.settings.model_dir)

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(self.settings.model_dir, threads=self.settings.embedding_threads, tokens=self.tokens)

    @cached_property
    def index(self) -> Index:
        return Index(self.settings)

    @cached_property
    def jail(self) -> Jail:
        return Jail()

    def close(self) -> None:
        """Close whatever was opened."""
        for name in ("jail", "index", "embedder", "database"):
            if name in self.__dict__:
                self.__dict__[name].close()
