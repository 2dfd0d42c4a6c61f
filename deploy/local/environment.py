"""`var/local.env`: how this checkout's servers are reached, for every other terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from common.errors import ConfigurationError

_NAME = "local.env"


def directory() -> Path:
    """Where this checkout keeps everything that runs: BRIGADE_VAR_DIR, else `var` in the project's root."""
    named = os.environ.get("BRIGADE_VAR_DIR")
    root = Path(__file__).resolve().parents[2]
    return Path(named).resolve() if named else (root if (root / "pyproject.toml").exists() else Path.cwd()) / "var"


def file_in(directory: Path) -> Path:
    return directory / _NAME


def find(start: Path) -> Path | None:
    """BRIGADE_VAR_DIR's, else the nearest `var/local.env` from `start` upwards."""
    named = os.environ.get("BRIGADE_VAR_DIR")
    places = [Path(named)] if named else [parent / "var" for parent in (start, *start.parents)]
    return next((place / _NAME for place in places if (place / _NAME).is_file()), None)


def read(path: Path) -> dict[str, str]:
    """Its variables. Empty if there is no such file."""
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
    except PermissionError as error:
        raise ConfigurationError(f"{path} is not yours to read: it holds the keys of who started the stack.") from error


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Replace it at once, readable by its owner only: it holds keys.

    Values are in single quotes, so that a shell can source it too.
    """
    lines = [f"{name}='{_quotable(name, value)}'\n" for name, value in variables.items()]
    replacement = path.with_name(path.name + ".new")
    replacement.unlink(missing_ok=True)
    with os.fdopen(os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Written by `brigade up` at each start.\n" + "".join(lines))
    replacement.replace(path)


def _quotable(name: str, value: str) -> str:
    if "'" in value or "\n" in value:
        raise ConfigurationError(f"{name} may hold neither a quote nor a line break.")
    return value
