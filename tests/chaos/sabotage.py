"""Each protection switched off, to show that it matters: `python -m tests.chaos.sabotage NAME worker` runs a worker.

The product has no such switches: here its own functions are replaced before it starts.
"""

from __future__ import annotations

import inspect
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DOUBLED, LOST, STUCK = "doubled", "lost", "stuck"  # as in oracle.py, which a worker need not load


@dataclass(frozen=True)
class Protection:
    """`faults`: those that it protects from, in the round that shows it, and of what kind what goes wrong is."""

    why: str
    remove: Callable[[], None]
    faults: tuple[str, ...]
    kind: str


def _without(module: Any, function: str, clause: str) -> None:
    """The function made anew from its source, without this clause of its SQL."""
    source = inspect.getsource(getattr(module, function))
    assert clause in source, f"{function} has no {clause!r} any more: mend this table"
    exec(compile(source.replace(clause, ""), module.__file__, "exec"), vars(module))


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


def _takeover() -> None:
    from common import steps

    _without(steps, "claim", "OR step.status = 'RUNNING' AND step.lease_until < now()")


def _same_ids() -> None:
    from common.index.rows import Row

    Row.id = property(lambda row: f"{row.document_id}:{row.version}:{uuid.uuid4().hex[:8]}")  # type: ignore[assignment]


def _is_news() -> None:
    from common import documents

    for function in (documents.arrive, documents.depart):
        assert function.__kwdefaults__ is not None
        function.__kwdefaults__["decides"] = lambda connection, event: True
    _sweep()


def _tidy() -> None:
    from router import scheduler

    vars(scheduler)["tidy"] = lambda services: None


def _sweep() -> None:
    from router import scheduler

    vars(scheduler)["sweep"] = vars(scheduler)["sweep_quickly"] = lambda *_, **__: 0


def _webhook_waits() -> None:
    from common.errors import Unavailable
    from common.http import Reply
    from router.webhook import Receipt, Webhook

    real = Webhook.receive

    def receive(self: Any, authorization: str, body: bytes) -> Reply[Receipt]:
        try:
            return real(self, authorization, body)
        except Unavailable:
            return Reply(Receipt(accepted=True))

    Webhook.receive = receive  # type: ignore[method-assign]
    _sweep()


# Not here: that who has lost the lease writes nothing, since the heartbeat ends such a run before it gets there, and a
# second run writes the same (tests/integration/test_runtime.py shows it alone); that vectors are upserted, since Milvus
# Lite replaces rows of the same id on an insert as well; and the pin, without which an older version is only wrong
# until the newer one is done.
# Where one protection stands behind another, both are taken away: what remains is what is to be shown.
PROTECTIONS = {
    "relay": Protection("what was lost is sent again", _relay, ("wipe-rabbitmq", "wipe-rabbitmq"), STUCK),
    "ack-last": Protection(
        "a message is acked when its work is done (and there is no relay)", _ack_last, ("kill-worker",) * 3, STUCK
    ),
    "takeover": Protection("what a dead worker held is taken over", _takeover, ("kill-worker",) * 3, STUCK),
    "same-ids": Protection("a second run writes the same ids", _same_ids, ("fail-after-vectors",) * 2, DOUBLED),
    "is-news": Protection(
        "only a later event changes anything (and there is no sweep)", _is_news, ("notifications-shuffle",) * 3, LOST
    ),
    "webhook-waits": Protection(
        "2xx means that RabbitMQ has it (and there is no sweep)", _webhook_waits, ("stop-rabbitmq",), LOST
    ),
    "sweep": Protection("what no notification told of is found", _sweep, ("notifications-lose",) * 2, LOST),
    "tidy": Protection("what older versions left is cleared away", _tidy, (), DOUBLED),
}


def main() -> None:
    _, name, *command = sys.argv
    PROTECTIONS[name].remove()
    sys.argv = ["brigade", *command]
    from deploy.cli import main as brigade

    brigade()


if __name__ == "__main__":
    main()
