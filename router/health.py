"""GET /readyz: whether everything behind this process answers, naming what does not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from common.errors import BrigadeError, Unavailable
from common.http import Reply
from common.services import Services
from router.broker import PikaBroker

_OK = "ok"


class Health:
    def __init__(self, services: Services, broker: PikaBroker) -> None:
        self._checks: dict[str, Callable[[], None]] = {
            "postgres": lambda: services.database.ping(),
            "rabbitmq": lambda: _connected(broker),
            "store": lambda: services.objects.ping(),
            "milvus": lambda: services.index.ping(),
        }

    def ready(self) -> Reply:
        # At once, so that the answer takes as long as the slowest, not as all together.
        with ThreadPoolExecutor(len(self._checks)) as pool:
            results = dict(zip(self._checks, pool.map(_result, self._checks.values()), strict=True))
        ready = all(result == _OK for result in results.values())
        return Reply({"status": "ready" if ready else "not ready", "checks": results}, 200 if ready else 503)


def _connected(broker: PikaBroker) -> None:
    if not broker.wait_connected(0):
        raise Unavailable("not connected")


def _result(check: Callable[[], None]) -> str:
    try:
        check()
    except BrigadeError as error:
        return error.message
    return _OK
