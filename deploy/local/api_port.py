"""The API's port: chosen before the servers start, as the store's webhook is told of it, and held until then."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from common.errors import ConfigurationError
from deploy.local.state import is_free

_USUAL = range(8080, 8180)
# What a run that was just killed leaves is gone after this.
_PATIENCE_SECONDS = 2.0


def choose(given: Mapping[str, str], remembered: Mapping[str, str]) -> int:
    """BRIGADE_API_PORT, else the last run's port, else the first free one from 8080 on."""
    if forced := given.get("BRIGADE_API_PORT"):
        if not forced.isdecimal() or not 0 < int(forced) < 65536:
            raise ConfigurationError(f"BRIGADE_API_PORT={forced}: a port is a number from 1 to 65535.")
        if not _becomes_free(int(forced)):
            raise ConfigurationError(f"BRIGADE_API_PORT={forced}: this port is taken. Choose another, or unset it.")
        return int(forced)
    last = urlsplit(remembered.get("BRIGADE_URL", "")).port
    if last and _becomes_free(last):
        return last
    free = next((port for port in _USUAL if is_free(port)), None)
    if free is None:
        raise ConfigurationError(f"The ports {_USUAL[0]} to {_USUAL[-1]} are all taken. Choose one: BRIGADE_API_PORT=…")
    return free


def hold(port: int) -> socket.socket:
    """Keep the port from others, as from a second checkout that starts at this moment, until this is closed.

    It does not listen: the store knocks at its webhook when it starts, and takes a refusal for "later", but silence
    for an error that disables the webhook.
    """
    held = socket.socket()
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        # The last run's ended connections. With this option another could take the port too, but it has one of its own.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
    return held


def _becomes_free(port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
