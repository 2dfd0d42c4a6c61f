"""The wire to Milvus: connects when first needed, gives up after a timeout, says what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import grpc
from pymilvus import MilvusClient, MilvusException
from pymilvus.client.types import Status
from pymilvus.exceptions import ConnectionConfigException, ErrorCode

from common.errors import ConfigurationError, Unavailable
from common.settings import Settings

# pymilvus's list of codes does not name it; it is the same on Milvus and Milvus Lite.
_NOT_LOADED = 101

_GRPC_OPTIONS = {
    # gRPC waits up to 2 minutes before it tries a server again that was away for a while, and fails calls meanwhile.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    # Milvus Lite ends a connection that asks more often whether it is alive; pymilvus does every 10 s.
    "grpc.keepalive_time_ms": 330_000,
    # That wait is otherwise shared by all channels of the process.
    "grpc.use_local_subchannel_pool": 1,
}
# These the same call will meet again; every other failure of gRPC is the server's or the network's.
_OUR_FAULT = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
)
_REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
# What pymilvus says when its time is up between two tries; the code is that of an unexpected error.
_GAVE_UP = "Retry timeout"


class NoCollection(ConfigurationError):
    """There is no such collection."""


class Server:
    def __init__(self, settings: Settings) -> None:
        self._uri = settings.milvus_uri
        self._token = settings.milvus_token.get_secret_value()
        self._timeout = settings.server_timeout_seconds
        self._client: MilvusClient | None = None
        self._connecting = threading.Lock()

    @cached_property
    def lite(self) -> bool:
        """Whether this is Milvus Lite: asked from the server, once."""
        return str(self.call("get_server_version")).startswith("milvus_lite")

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """One method of MilvusClient, within the timeout. Raises `Unavailable`, or `ConfigurationError` for what a
        person must mend first; wrong use raises MilvusException."""
        with self.telling():
            return getattr(self._connected(), name)(*arguments, **{"timeout": self._timeout, **options})

    def call_loaded(self, name: str, collection: str, **options: Any) -> Any:
        """The same for what needs the collection in memory: Milvus Lite forgets at every start that it was."""
        try:
            return self.call(name, collection, **options)
        except MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
        self.call("load_collection", collection)
        return self.call(name, collection, **options)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _connected(self) -> MilvusClient:
        # Whoever waits here waits for another's attempt, and must not begin one of its own for each that was before.
        if not self._connecting.acquire(timeout=self._timeout):
            raise self._unavailable("others are still connecting")
        try:
            if self._client is None:
                self._client = MilvusClient(
                    self._uri, token=self._token, timeout=self._timeout, dedicated=True, grpc_options=_GRPC_OPTIONS
                )
            return self._client
        finally:
            self._connecting.release()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """pymilvus's errors as ours, for what it does outside of `call`."""
        try:
            yield
        except grpc.RpcError as error:
            if error.code() in _REFUSED:
                raise self._refused(error.details()) from error
            if error.code() in _OUR_FAULT:
                raise
            raise self._unavailable(error.details() or error.code().name) from error
        except ConnectionConfigException:
            # Its text has the URI, which may hold a password.
            raise ConfigurationError("BRIGADE_MILVUS_URI is not an address that Milvus's client takes.") from None
        except MilvusException as error:
            if error.code in _REFUSED:
                raise self._refused(error.message) from error
            if error.code == ErrorCode.COLLECTION_NOT_FOUND:
                raise NoCollection(f"{_first_line(error.message)}: run `brigade migrate`.") from error
            # After retries in vain pymilvus puts gRPC's status where its own codes go.
            gone = error.code in (Status.CONNECT_FAILED, ErrorCode.RATE_LIMIT) or isinstance(
                error.code, grpc.StatusCode
            )
            if gone or error.retriable or _GAVE_UP in error.message:
                raise self._unavailable(error.message) from error
            raise

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(f"Milvus did not answer: {_first_line(reason)}", server="milvus")

    def _refused(self, reason: str | None) -> ConfigurationError:
        return ConfigurationError(f"Milvus refuses BRIGADE_MILVUS_TOKEN: {_first_line(reason)}", server="milvus")


def _first_line(reason: str | None) -> str:
    return next(iter((reason or "").splitlines()), "no reason given")
