"""What a directory of private servers remembers between runs: ports and secrets, and that only one runs at a time."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from common.errors import ConfigurationError

# Below the ports that outgoing connections are given (32768 on Linux, 49152 on macOS): from among those a client that
# keeps knocking at a dead server's port is one day connected to itself.
_PORTS = range(20000, 32768)
_given: set[int] = set()

# How long the guardian of a killed run may still be busy; see guardian.py.
_TAKEOVER_SECONDS = 10.0


class State:
    """Ports and secrets under their names, in `state.json` (mode 600)."""

    def __init__(self, directory: Path, forced: Mapping[str, str]) -> None:
        self._file = directory / "state.json"
        self._forced = forced
        content = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._ports: dict[str, int] = content.get("ports", {})
        self._secrets: dict[str, str] = content.get("secrets", {})
        self._given: set[int] = set()

    def secret(self, name: str) -> str:
        """The same at every start; 128 bits, letters and digits only, as it goes into URLs and files."""
        return self._secrets.setdefault(name, secrets.token_hex(16))

    def port(self, name: str, variable: str = "") -> int:
        """The port that `variable` forces, else the remembered one, else any that is free."""
        if forced := self._forced.get(variable):
            port = _as_port(variable, forced)
            if port in self._given or not is_free(port):
                raise ConfigurationError(f"{variable}={port}: this port is taken. Choose another, or unset it.")
        else:
            port = self._ports.get(name, 0)
            while port in self._given or not is_free(port):
                port = free_port()
            self._ports[name] = port
        self._given.add(port)
        return port

    def save(self) -> None:
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps({"ports": self._ports, "secrets": self._secrets}, indent=2))
        new.replace(self._file)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1. Port 0 is none."""
    if port == 0:
        return False
    with socket.socket() as probe:
        # As servers do: what an ended server's connections left behind (TIME_WAIT) is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Some port of 127.0.0.1 that nobody listens on, and that this process has given to nobody else who will."""
    while (port := random.choice(_PORTS)) in _given or not is_free(port):  # noqa: S311 - no secret
        pass
    _given.add(port)
    return port


def lock_for_us(directory: Path) -> IO[str]:
    """Own the directory as long as the answer is open. Raises `ConfigurationError` if another process does."""
    file = (directory / "lock").open("a+")
    if not _lock(file):
        file.seek(0)
        owner = file.read()
        file.close()
        raise ConfigurationError(
            f"The servers in {directory} are already running (process {owner}). Stop that one first."
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def lock_for_guardian(directory: Path) -> IO[str]:
    """A second lock, for the guardian to hold: who was killed has lost the first while his servers are still ending."""
    file = (directory / "guardian.lock").open("a")
    deadline = time.monotonic() + _TAKEOVER_SECONDS
    while not _lock(file):
        if time.monotonic() > deadline:
            file.close()
            raise ConfigurationError(f"What a killed run left running in {directory} does not end. Try again later.")
        time.sleep(0.02)
    return file


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _as_port(variable: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise ConfigurationError(f"{variable}={value}: a port is a number from 1 to 65535.")
    return int(value)
