"""Every few seconds: make what was written since the last time fast to search."""

from __future__ import annotations

from common.services import Services


def flush(services: Services) -> None:
    services.index.flush()
