"""Each protection switched off, to show that it matters: `python -m tests.chaos.sabotage NAME worker` runs a worker.

The product has no such switches: here its own functions are replaced before it starts.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text


@dataclass(frozen=True)
class Protection:
    """`faults`: those that it protects from, in the round that shows it."""

    why: str
    remove: Callable[[], None]
    faults: tuple[str, ...]


def _without(module: Any, function: str, *clauses: str) -> None:
    """The function's SQL, without these clauses."""
    real = getattr(module, function)

    def stripped(statement: str) -> Any:
        for clause in clauses:
            statement = statement.replace(clause, "")
        return text(statement)

    def sabotaged(*arguments: Any, **options: Any) -> Any:
        module.text = stripped
        try:
            return real(*arguments, **options)
        finally:
            module.text = text

    setattr(module, function, sabotaged)


def _relay() -> None:
    from router.outbox import Outbox

    Outbox.relay = lambda self, **_: 0  # type: ignore[method-assign]


def _ack_last() -> None:
    from router.runtime import Runtime

    real = Runtime.handle

    def handle(self: Any, delivery: Any) -> None:
        self._broker.ack(delivery)
        real(self, delivery)

    Runtime.handle = handle  # type: ignore[method-assign]
    _relay()


def _owner_guard() -> None:
    from common import steps

    _without(steps, "finish", "AND step.status = 'RUNNING' AND step.owner = :owner")


def _takeover() -> None:
    from common import steps

    _without(steps, "claim", "OR step.status = 'RUNNING' AND step.lease_until < now()")


def _same_ids() -> None:
    from common.index.rows import Row

    Row.id = property(lambda row: f"{row.document_id}:{row.version}:{uuid.uuid4().hex[:8]}")  # type: ignore[assignment]


def _upsert() -> None:
    from common.index.server import Server

    real = Server.call

    def call(self: Any, name: str, *arguments: Any, **options: Any) -> Any:
        return real(self, "insert" if name == "upsert" else name, *arguments, **options)

    Server.call = call  # type: ignore[method-assign]


def _is_news() -> None:
    from common import documents

    documents.is_news = lambda connection, event: True


def _tidy() -> None:
    from router import scheduler

    vars(scheduler)["tidy"] = lambda services: None


PROTECTIONS = {
    "relay": Protection("what was lost is sent again", _relay, ("wipe-rabbitmq",)),
    "ack-last": Protection("a message is acked when its work is done (and no relay)", _ack_last, ("kill-worker",)),
    "owner-guard": Protection("who lost the lease writes nothing down", _owner_guard, ("freeze-worker",)),
    "takeover": Protection("what a dead worker held is taken over", _takeover, ("kill-worker",)),
    "same-ids": Protection("a second run writes the same vectors", _same_ids, ("fail-store",)),
    "upsert": Protection("a second run replaces", _upsert, ("fail-store",)),
    "is-news": Protection("only later events change anything", _is_news, ("notifications-shuffle",)),
    "tidy": Protection("what older versions left is cleared away", _tidy, ()),
}


def main() -> None:
    _, name, *command = sys.argv
    PROTECTIONS[name].remove()
    sys.argv = ["brigade", *command]
    from deploy.cli import main as brigade

    brigade()


if __name__ == "__main__":
    main()
