"""A runtime over a fake broker and a real Postgres, with a pipeline of tiny functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from sqlalchemy import text

from common import dead_letter_views, documents
from common.context import Context
from common.db import Database
from common.dead_letter_views import LetterView
from common.dead_letters import Wanted
from common.events import ObjectCreated
from common.pipelines import Pipeline, Step
from common.services import Services
from common.settings import Settings
from common.task_views import read_task
from router.broker import Delivery
from router.fake_broker import FakeBroker
from router.leases import Leases
from router.outbox import Outbox, messages
from router.runtime import Runtime
from router.table import DOCUMENT_DELETE
from tests.memory_store import MemoryStore


@dataclass(frozen=True)
class Word:
    text: str


# The tests give the pipeline's steps the names of real ones, because only those have queues.
ORDER = ("UPLOAD", "EXTRACT_TEXT", "SPLIT", "VECTORIZE", "STORE")


class Rig:
    """A runtime over a fake broker, and a pipeline of tiny functions that write down what they were given."""

    def __init__(self, database_url: str) -> None:
        settings = Settings(database_url=database_url, lease_seconds=60, inline_artifact_bytes=64)
        self.database = Database(settings)
        self.store = MemoryStore()
        self.services = cast(Services, SimpleNamespace(settings=settings, database=self.database, objects=self.store))
        self.broker = FakeBroker()
        self.outbox = Outbox(self.database, self.broker)
        self.calls: list[tuple[str, Any]] = []
        self.before: dict[str, Callable[[Context], None]] = {}
        self.pipeline = Pipeline(
            "DOCUMENT_UPLOAD",
            (
                Step("UPLOAD", weight=10),
                Step("EXTRACT_TEXT", self.extract, weight=40),
                Step("SPLIT", self.look, weight=10),
                Step("VECTORIZE", self.shout, weight=30, batch=2),
                Step("STORE", self.keep, weight=10),
            ),
        )
        self.leases = Leases(self.database, lease_seconds=60)
        self.runtime = self.worker("me")

    def worker(self, owner: str) -> Runtime:
        pipelines = {self.pipeline.name: self.pipeline}
        return Runtime(
            self.services, self.broker, owner=owner, leases=self.leases, outbox=self.outbox, pipelines=pipelines
        )

    def extract(self, ctx: Context) -> Iterator[Word]:
        self._called("EXTRACT_TEXT", ctx)
        ctx.note(words=5)
        yield from map(Word, ("one", "two", "three", "four", "five"))

    def look(self, ctx: Context, words: Iterable[Word]) -> None:
        self._called("SPLIT", ctx, [word.text for word in words])

    def shout(self, ctx: Context, words: Iterable[Word]) -> Iterator[Word]:
        given = [word.text for word in words]
        self._called("VECTORIZE", ctx, given)
        yield from (Word(word.upper()) for word in given)

    def keep(self, ctx: Context, words: Iterable[Word]) -> None:
        self._called("STORE", ctx, [word.text for word in words])

    def _called(self, name: str, ctx: Context, given: Any = None) -> None:
        self.calls.append((name, given))
        if name in self.before:
            self.before[name](ctx)

    def arrive(self, sequencer: int = 1, etag: str = "e1", key: str = "incoming/a.txt") -> str:
        """An object arrives; returns its task."""
        event = ObjectCreated("b", key, f"{sequencer:032X}", etag=etag, size=5)
        with self.database.transaction() as connection:
            ready = documents.arrive(connection, event, self.pipeline, DOCUMENT_DELETE)
        self.outbox.send(messages(self.pipeline.name, ready))
        return ready[0].task_id

    def run(self) -> None:
        self.broker.deliver(self.runtime.handle)

    def run_without_waiting(self) -> None:
        """The fake broker's ladder takes no time; the database's clock must not either."""

        def handle(delivery: Delivery) -> None:
            self.sql("UPDATE task_details SET not_before = NULL")
            self.runtime.handle(delivery)

        self.broker.deliver(handle)

    def task(self, task_id: str) -> dict[str, Any]:
        with self.database.transaction() as connection:
            task = read_task(connection, task_id)
        assert task is not None
        return cast("dict[str, Any]", msgspec.to_builtins(task, builtin_types=(datetime,)))

    def steps(self, task_id: str) -> list[str]:
        return [step["status"] for step in self.task(task_id)["task_details"]]

    def letters(self, **wanted: str) -> list[LetterView]:
        """The dead letters that Postgres has."""
        with self.database.transaction() as connection:
            return dead_letter_views.page(connection, Wanted(**wanted), cursor=None, limit=100)[0]

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def count(self, what: str) -> int:
        """How many rows there are: the name of a table, with or without a WHERE."""
        with self.database.transaction() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {what}")).scalar_one())

    def sql(self, statement: str) -> None:
        with self.database.transaction() as connection:
            connection.execute(text(statement))
