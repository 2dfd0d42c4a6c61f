"""One of our processes, started again when it dies, as any supervisor would: to be killed, frozen, and changed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.guardian import Guardian
from deploy.local.supervisor import Supervisor

_FIRST_DELAY_SECONDS = 0.1
# It dies a dozen times in a round, of which a supervisor would conclude that it had better wait.
_LONGEST_DELAY_SECONDS = 0.4
_GRACE_SECONDS = 10


class Process:
    """`command`: api, scheduler or worker. `sabotage`: what of tests/chaos/sabotage.py it does without."""

    def __init__(
        self,
        name: str,
        command: str,
        environment: Mapping[str, str],
        directory: Path,
        guardian: Guardian,
        *,
        sabotage: str = "",
    ) -> None:
        self.name = name
        module = ["tests.chaos.sabotage", sabotage] if sabotage else ["deploy.cli"]
        self._command = [sys.executable, "-m", *module, command]
        self._environment = environment
        self._directory = directory
        self._guardian = guardian
        self._supervisor: Supervisor | None = None
        self._runs = 0

    def start(self, **changes: str) -> None:
        """Run it, with these settings beside its own."""
        self._runs += 1
        environment = {**_basics(), **self._environment, **changes}
        # A log of its own for each start: the oracle reads all of them.
        logs = self._directory / f"{self.name}-{self._runs}"
        self._supervisor = Supervisor(
            environment,
            logs,
            self._guardian,
            report=_silent,
            first_delay_seconds=_FIRST_DELAY_SECONDS,
            longest_delay_seconds=_LONGEST_DELAY_SECONDS,
        )
        self._supervisor.settle()
        self._supervisor.start(self.name, self._command)

    def restart(self, **changes: str) -> None:
        self.stop()
        self.start(**changes)

    def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.stop(_GRACE_SECONDS)
            self._supervisor = None

    @property
    def pid(self) -> int | None:
        return self._supervisor.pid(self.name) if self._supervisor else None

    @property
    def logs(self) -> list[Path]:
        return sorted(self._directory.glob(f"{self.name}-*/*.log"), key=lambda log: log.stat().st_mtime)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _silent(_: str) -> None:
    pass


def _basics() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BRIGADE_")}
