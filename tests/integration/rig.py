"""A runtime over a fake broker and a real Postgres, with a pipeline of tiny functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, text

from common import dead_letter_views, documents, uploads
from common.context import Context
from common.db import Database
from common.dead_letter_views import LetterView
from common.dead_letters import Wanted
from common.events import ObjectCreated
from common.pipelines import Pipeline, Step
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from common.steps import StepRef
from common.task_views import read_task
from router.broker import Delivery
from router.fake_broker import FakeBroker
from router.leases import Leases
from router.outbox import Outbox
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

    def __init__(self, database_url: str, *, lane_runs: int = 8) -> None:
        settings = Settings(database_url=database_url, lease_seconds=60, inline_artifact_bytes=64)
        self.database = Database(settings)
        self.store = MemoryStore()
        self.services = cast(Services, SimpleNamespace(settings=settings, database=self.database, objects=self.store))
        self.broker = FakeBroker()
        self.outbox = Outbox(self.database, self.broker, lane_runs=lane_runs)
        self.calls: list[tuple[str, Any]] = []
        self.words = 5
        self.base = "default"  # of the documents that arrive
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
        ctx.note(words=self.words)
        yield from map(Word, ("one", "two", "three", "four", "five", *map(str, range(6, self.words + 1))))

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
        """An object arrives; returns its task. Its message is sent if it is its turn."""
        event = ObjectCreated("b", key, f"{sequencer:032X}", etag=etag, size=5)
        with self.database.transaction() as connection:
            ready = documents.arrive(connection, event, self.pipeline, DOCUMENT_DELETE)
            if self.base != "default":
                ready = [self._moved(connection, ready[0].task_id)]
            due = self.outbox.admit(connection, ready)
        self.outbox.send(due)
        return ready[0].task_id

    def announce(self, expires_seconds: float = 60) -> uploads.Announcement:
        """A place for an upload of five bytes, for the admin."""
        with self.database.transaction() as connection:
            return uploads.announce(
                connection,
                self.pipeline,
                caller=Principal("admin", is_admin=True),
                bucket="b",
                filename="a.txt",
                size=5,
                content_type="text/plain",
                metadata={},
                knowledge_base_id="default",
                expires_seconds=expires_seconds,
            )

    def _moved(self, connection: Connection, task_id: str) -> StepRef:
        """Drops come into the default base; this one is another's."""
        row = connection.execute(
            text("""
                WITH task AS (UPDATE tasks SET knowledge_base_id = :base WHERE id = :task RETURNING id, document_id),
                document AS (UPDATE documents SET knowledge_base_id = :base FROM task WHERE documents.id = document_id)
                UPDATE task_details SET lane = :base FROM task WHERE task_id = task.id AND ready_at IS NOT NULL
                RETURNING task_id, step_order, step_name, batch, lane
            """),
            {"base": self.base, "task": task_id},
        ).one()
        connection.execute(
            text("UPDATE task_details SET lane = :base WHERE task_id = :task"), {"base": self.base, "task": task_id}
        )
        return StepRef(*row)

    def relay(self, *, unsent: float = 0, vanished: float = 60, lost: float = 60) -> int:
        """What the scheduler does with what nobody has sent."""
        return self.outbox.relay(unsent_seconds=unsent, vanished_seconds=vanished, lost_seconds=lost)

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
