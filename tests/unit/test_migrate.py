"""How `brigade migrate` prepares the servers, and leaves alone what is not ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from common.errors import Unavailable
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


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_postgres_that_does_not_answer_is_unavailable_in_a_sentence(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGADE_SERVER_TIMEOUT_SECONDS", "2")  # libpq's shortest
    with pytest.raises(Unavailable, match=r"Postgres did not answer: .*timeout expired"):
        migrate.migrate(f"postgresql://127.0.0.1:{silent_port}/brigade")
