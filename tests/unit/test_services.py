"""What threads share is opened once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from common import services
from common.settings import Settings


def test_two_threads_get_the_same_embedder_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    second = Event()

    def slowly(name: str) -> Any:
        made.append(name)
        if len(made) > 1:
            second.set()
        second.wait(0.2)  # gives another thread the time to open it too
        return object()

    monkeypatch.setattr(services, "Tokens", lambda _: slowly("tokens"))
    monkeypatch.setattr(services, "Index", lambda _: slowly("index"))
    monkeypatch.setattr(services, "Embedder", lambda *_, tokens, **__: (slowly("embedder"), tokens))
    shared = services.Services(Settings(_env_file=None))
    barrier = Barrier(4)

    def use(_: int) -> tuple[Any, ...]:
        barrier.wait(10)
        return shared.index, shared.embedder, shared.tokens

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(use, range(4))
    assert all(mine is same for other in others for mine, same in zip(first, other, strict=True))
    assert sorted(made) == ["embedder", "index", "tokens"]
    assert first[1][1] is first[2]


def test_what_was_never_opened_is_not_closed() -> None:
    shared = services.Services(Settings(_env_file=None))
    shared.close()
    assert not {"jail", "index", "embedder", "database"} & shared.__dict__.keys()
