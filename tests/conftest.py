"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog


@pytest.fixture(scope="session", autouse=True)
def _loggers_can_be_listened_to() -> Iterator[None]:
    """A process that configures its logging keeps its loggers for good, which no later test could listen to."""
    configure = structlog.configure

    def configure_without_keeping(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structlog, "configure", configure_without_keeping)
        yield
