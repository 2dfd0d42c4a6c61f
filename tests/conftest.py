"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from deploy.local import state


@pytest.fixture(scope="session", autouse=True)
def _loggers_can_be_listened_to() -> Iterator[None]:
    """A process that configures its logging keeps its loggers for good, which no later test could listen to."""
    configure = structlog.configure

    def configure_without_keeping(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structlog, "configure", configure_without_keeping)
        yield


@pytest.fixture(scope="session", autouse=True)
def _a_logged_error_is_shown_plainly(_loggers_can_be_listened_to: None) -> None:
    """structlog's default shows every variable of every frame, which takes seconds for each. So does no process of
    ours: see common/telemetry.py."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


@pytest.fixture(scope="session", autouse=True)
def _ports_are_each_process_own(worker_id: str) -> Iterator[None]:
    """Two processes of tests that choose the same port, to listen on a while later, would not notice until then."""
    half = len(state._PORTS) // 2
    with pytest.MonkeyPatch.context() as patched:
        if worker_id == "gw0":
            patched.setattr(state, "_PORTS", state._PORTS[:half])
        elif worker_id != "master":
            patched.setattr(state, "_PORTS", state._PORTS[half:])
        yield


@pytest.fixture(autouse=True)
def _logging_is_each_tests_own() -> Iterator[None]:
    """A command that runs in this process says how much is logged, which is not for the tests after it."""
    kept = structlog.get_config()
    kept["processors"] = list(kept["processors"])  # who listens changes the list itself
    yield
    structlog.configure(**kept)
