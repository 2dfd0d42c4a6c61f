"""Every error that means something here: one tree, each class saying what the runtime and a person should make of it.

The class decides what happens next; the code is for machines; the message is a sentence for a person that says
what happened, where, and what to do. A class's docstring is its default message.
"""

from __future__ import annotations

from typing import Any


class BrigadeError(Exception):
    """Something went wrong in Bucket Brigade."""

    code = "INTERNAL_ERROR"

    def __init__(self, message: str | None = None, *, code: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.code = code or self.code
        self.details = details
        super().__init__(self.message)


class Rejected(BrigadeError):
    """The document itself cannot be processed; trying again would change nothing."""

    code = "REJECTED"


class TimedOut(Rejected):
    """The run of a step used up the time that it may take."""

    code = "TIMED_OUT"


class Retryable(BrigadeError):
    """A passing failure: the same call may succeed later."""

    code = "TRY_AGAIN"


class Unavailable(Retryable):
    """A server that this depends on did not answer."""

    code = "UNAVAILABLE"

    @property
    def told(self) -> str:
        """What clients may read of it: the message can name hosts and users."""
        server = str(self.details.get("server", ""))
        return f"{_SERVERS.get(server, 'A server that this needs')} does not answer."


_SERVERS = {"postgres": "Postgres", "rabbitmq": "RabbitMQ", "store": "The object store", "milvus": "Milvus"}


class DiskFull(Unavailable):
    """A disk that this needs is full."""

    @property
    def told(self) -> str:
        return "The worker's disk is full."


class Stopped(BrigadeError):
    """Nobody wants this run's result any more: stop without a trace."""

    code = "STOPPED"


class Cancelled(Stopped):
    """The task was cancelled."""

    code = "CANCELLED"


class Superseded(Stopped):
    """A newer version of the object took this one's place."""

    code = "SUPERSEDED"


class LeaseLost(Stopped):
    """Another worker took this step over; this run's result is dropped."""

    code = "LEASE_LOST"


class InvalidEvent(BrigadeError):
    """A notification that can never be understood."""

    code = "INVALID_EVENT"


class InvalidMessage(BrigadeError):
    """A message on a work queue that can never be understood."""

    code = "INVALID_MESSAGE"


class ConfigurationError(BrigadeError):
    """A setting is missing or contradicts another."""

    code = "CONFIGURATION"


class RequestError(BrigadeError):
    """A client's request cannot be answered as asked. Subclasses carry the HTTP status."""

    code = "BAD_REQUEST"
    status = 400


class Unauthenticated(RequestError):
    """Send an API key: `Authorization: Bearer <key>` or `X-API-Key: <key>`."""

    code = "UNAUTHENTICATED"
    status = 401


class Forbidden(RequestError):
    """This is not yours: ask its owner, or an admin, for a role in its knowledge base."""

    code = "FORBIDDEN"
    status = 403


class NotFound(RequestError):
    """There is nothing under this address."""

    code = "NOT_FOUND"
    status = 404


class RequestTimedOut(RequestError):
    """The request's body came too slowly."""

    code = "REQUEST_TIMEOUT"
    status = 408


class Conflict(RequestError):
    """What is there does not allow this now."""

    code = "CONFLICT"
    status = 409


class TooLarge(RequestError):
    """The request is larger than this server accepts."""

    code = "TOO_LARGE"
    status = 413


class UnsupportedMedia(RequestError):
    """Send JSON, with the header `Content-Type: application/json`."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class Refused(RequestError):
    """The request is understood, and refused."""

    code = "REFUSED"
    status = 422


class TooMany(RequestError):
    """Too many requests. `retry_after`: seconds until the next may succeed."""

    code = "TOO_MANY_REQUESTS"
    status = 429

    def __init__(self, message: str | None = None, *, retry_after: int = 1, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after
