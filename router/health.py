"""GET /readyz: whether everything behind this process answers, naming what does not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec
import structlog

from common.errors import Unavailable
from common.http import Reply
from common.services import Services
from router.broker import PikaBroker

log = structlog.get_logger()

_OK = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """`checks`: "ok", or what is the matter, by the name of each server."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str]


class Health:
    def __init__(self, services: Services, broker: PikaBroker) -> None:
        self._checks: dict[str, Callable[[], None]] = {
            "postgres": lambda: services.database.ping(),
            "rabbitmq": lambda: _connected(broker),
            "store": lambda: services.objects.ping(),
            "milvus": lambda: services.index.ping(),
        }

    def ready(self) -> Reply[Readiness]:
        # At once, so that the answer takes as long as the slowest, not as all together.
        with ThreadPoolExecutor(len(self._checks)) as pool:
            checks = {name: pool.submit(check) for name, check in self._checks.items()}
        results = {name: _told(name, check.exception()) for name, check in checks.items()}
        ready = all(result == _OK for result in results.values())
        return Reply(Readiness("ready" if ready else "not ready", results), 200 if ready else 503)


def _connected(broker: PikaBroker) -> None:
    if not broker.wait_connected(0):
        raise Unavailable("not connected")


def _told(name: str, error: BaseException | None) -> str:
    """What anybody may know. The reason can name hosts and users, so it goes to the log."""
    if error is None:
        return _OK
    log.warning("health.not_ready", server=name, reason=f"{type(error).__name__}: {error}")
    return "does not answer" if isinstance(error, Unavailable) else "refuses"
