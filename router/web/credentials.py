"""Where a request comes from, and where it shows its access token or API key."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import HTTPConnection

from common.errors import Unauthenticated


def address_of(connection: HTTPConnection) -> str:
    """The client's, as far as the server or a trusted proxy knows it."""
    return connection.client.host if connection.client else ""


def credential(headers: Mapping[str, str]) -> str:
    """The access token or API key that a request shows."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    if not key:
        raise Unauthenticated
    return key


def credential_of_stream(connection: HTTPConnection) -> str:
    """The same, or `?token=`: browsers set no headers on WebSockets and event streams. Empty if there is none."""
    try:
        return credential(connection.headers)
    except Unauthenticated:
        return connection.query_params.get("token", "")
