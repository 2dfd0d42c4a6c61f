"""The order in which `brigade migrate` prepares the servers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from common.settings import Settings
from deploy import migrate


def test_queues_are_there_before_the_rules_that_make_the_store_send(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    services = SimpleNamespace(
        objects=None, index=SimpleNamespace(ensure=lambda _: done.append("collection")), close=lambda: None
    )
    monkeypatch.setattr(migrate, "Services", lambda _: services)
    monkeypatch.setattr("deploy.migrate.Manifest.read", lambda _: SimpleNamespace(dimension=384))
    monkeypatch.setattr(migrate, "migrate", lambda _: done.append("tables"))
    monkeypatch.setattr(migrate, "_admin_key", lambda _: done.append("key"))
    monkeypatch.setattr(migrate, "_topology", lambda _: done.append("queues"))
    monkeypatch.setattr(migrate, "_bucket", lambda *_: done.append("rules"))
    migrate.prepare(Settings(_env_file=None))
    assert done == ["tables", "key", "collection", "queues", "rules"]
