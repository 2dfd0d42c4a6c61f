"""The servers and the model, each opened when first used: a worker that only extracts never loads the model."""

from __future__ import annotations

from threading import RLock

from common.access_tokens import AccessTokens
from common.db import Database
from common.embedding import Embedder, Tokens
from common.errors import ConfigurationError
from common.failpoints import Failpoints
from common.index import Index
from common.jail import Jail
from common.limits import Limits
from common.objects import ObjectStore
from common.once import once
from common.presigner import Presigner
from common.security import Authenticator
from common.settings import Settings


class Services:
    """`connections` to Postgres at once, if not as many as steps run at once need."""

    def __init__(self, settings: Settings, *, connections: int | None = None) -> None:
        self.settings = settings
        self._connections = connections
        self.opening = RLock()  # the embedder opens the tokens

    @once
    def database(self) -> Database:
        return Database(self.settings, connections=self._connections)

    @once
    def access_tokens(self) -> AccessTokens:
        return AccessTokens(self.settings)

    @once
    def authenticator(self) -> Authenticator:
        return Authenticator(self.database, self.access_tokens, cache_seconds=self.settings.auth_cache_seconds)

    @once
    def failpoints(self) -> Failpoints:
        return Failpoints(self.settings.failpoints)

    @once
    def limits(self) -> Limits:
        return Limits(self.settings)

    @once
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings)

    @once
    def presigner(self) -> Presigner:
        return Presigner(self.settings)

    @once
    def tokens(self) -> Tokens:
        return Tokens(self.settings.model_dir)

    @once
    def embedder(self) -> Embedder:
        return Embedder(self.settings.model_dir, threads=self.settings.embedding_threads, tokens=self.tokens)

    @once
    def previous_embedder(self) -> Embedder:
        """Of the model of before, for what is not processed again yet."""
        directory = self.settings.previous_model_dir
        if directory is None:
            raise ConfigurationError("BRIGADE_PREVIOUS_MODEL_DIR names no model.")
        return Embedder(directory, threads=self.settings.embedding_threads, tokens=Tokens(directory))

    @once
    def index(self) -> Index:
        return Index(self.settings)

    @once
    def jail(self) -> Jail:
        return Jail()

    @once
    def ocr_jail(self) -> Jail:
        """With another zygote: only a worker that gets scans holds OCR's models."""
        return Jail()

    def close(self) -> None:
        """Close whatever was opened."""
        for name in ("jail", "ocr_jail", "index", "embedder", "previous_embedder", "database"):
            if name in self.__dict__:
                self.__dict__[name].close()
