"""Where a command's settings come from: the environment, and beside it the `var/local.env` of a running local stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from deploy.client import Client
from deploy.local import environment

if TYPE_CHECKING:
    from common.settings import Settings


def connect() -> Client:
    """A client for the API that the environment, or else the nearest `var/local.env`, names."""
    path = _file()
    local = environment.read(path) if path else {}
    url = os.environ.get("BRIGADE_URL") or local.get("BRIGADE_URL")
    # The local key is for the local stack: a server named by the environment must not get to see it.
    key = os.environ.get("BRIGADE_API_KEY") or (
        local.get("BRIGADE_API_KEY") if url == local.get("BRIGADE_URL") else None
    )
    if not url or not key:
        missing = "BRIGADE_API_KEY" if url else "BRIGADE_URL and BRIGADE_API_KEY"
        raise ConfigurationError(f"Set {missing}, or call this in a directory where `brigade up` has been started.")
    return Client(url, key)


def settings() -> Settings:
    """The settings of this process. Raises `ConfigurationError` naming those that are wrong."""
    from pydantic import ValidationError

    from common.settings import Settings

    try:
        return Settings(_env_file=_file())
    except ValidationError as error:
        wrong = "; ".join(f"BRIGADE_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"The settings are wrong. {wrong}") from error


def _file() -> Path | None:
    named = os.environ.get("BRIGADE_ENV_FILE")
    return Path(named) if named else environment.find(Path.cwd())
