"""Events doubled, shuffled, delayed and dropped, with sweeps in between: in the end it is known what the bucket holds.

Hypothesis makes up the histories, and the shortest that goes wrong is shown. Everything is the product's own but the
store (tests/integration/bucket_model.py), the broker, and what the steps do.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from common import removals
from common.context import Context
from common.db import Database
from common.errors import Rejected, Superseded
from common.failpoints import NONE
from common.objects import ObjectStore
from common.pipelines import Pipeline, Step
from common.reconciling import Outcome, Reconciler
from common.services import Services
from common.settings import Settings
from functions.schedule.tidy import tidy
from router import topology
from router.broker import Delivery, Publication
from router.fake_broker import FakeBroker
from router.ingress import Ingress
from router.leases import Leases
from router.outbox import Outbox
from router.runtime import Runtime
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD
from tests.integration.bucket_model import BUCKET, BucketModel

KEYS = ("incoming/a.txt", "incoming/b.txt")
ETAGS = ("e1", "e2", "e3")
GRACE_SECONDS = 10
EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "12"))
WORDS = 3  # of each document, in batches of two

keys = st.sampled_from(KEYS)
etags = st.sampled_from(ETAGS)
numbers = st.integers(0, 1000)


@dataclass(frozen=True)
class Word:
    text: str


class MemoryIndex:
    """The part of common.index.Index that the steps and the tidying use."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = defaultdict(dict)

    def delete_versions(self, document_id: str, versions: Collection[int]) -> None:
        gone = [f"{document_id}:{version}:" for version in versions]
        self.rows[document_id] = {
            row: word for row, word in self.rows[document_id].items() if not any(row.startswith(one) for one in gone)
        }


class Events(RuleBasedStateMachine):
    database: ClassVar[Database]
    settings_: ClassVar[Settings]

    @initialize(
        versioned=st.booleans(),
        sweeps=st.booleans(),
        before=st.lists(st.tuples(keys, st.none() | etags), min_size=4, max_size=8),
    )
    def begin(self, versioned: bool, sweeps: bool, before: list[tuple[str, str | None]]) -> None:
        """`before`: what was put and removed of which nobody has told yet. Without sweeps every event is told in the
        end, and that alone must do."""
        self.sweeps = sweeps
        self.bucket = BucketModel(versioned=versioned)
        self.index = MemoryIndex()
        self.broker = FakeBroker()
        self.outbox = Outbox(self.database, self.broker, lane_runs=8)
        self.services = cast(
            Services,
            SimpleNamespace(
                settings=self.settings_, database=self.database, objects=self.bucket, index=self.index, failpoints=NONE
            ),
        )
        self.pipelines = _pipelines(self.bucket, self.index)
        self.runtime = Runtime(
            self.services,
            self.broker,
            owner="me",
            leases=Leases(self.database, lease_seconds=self.settings_.lease_seconds),
            outbox=self.outbox,
            pipelines=self.pipelines,
        )
        objects = cast(ObjectStore, self.bucket)
        self.ingress = Ingress(self.database, objects, self.broker, self.outbox, NONE)
        self.reconciler = Reconciler(self.database, objects, DOCUMENT_UPLOAD, DOCUMENT_DELETE, GRACE_SECONDS)
        self.untold: list[bytes] = []
        self.told: list[bytes] = []
        with self.database.transaction() as connection:
            connection.execute(text("TRUNCATE tasks, documents, events_seen CASCADE"))
        for key, etag in before:
            if etag is None:
                self.remove(key)
            else:
                self.put(key, etag)

    # What happens in the bucket.

    @rule(key=keys, etag=etags)
    def put(self, key: str, etag: str) -> None:
        self.untold.append(self.bucket.put(key, etag))

    @rule(key=keys)
    def remove(self, key: str) -> None:
        if self.bucket.current(key) is not None:
            self.untold.append(self.bucket.remove(key))

    @precondition(lambda self: self.bucket.versioned)
    @rule(key=keys)
    def remove_newest_version(self, key: str) -> None:
        if self.bucket.current(key) is not None:
            self.untold.append(self.bucket.remove_newest_version(key))

    @rule(seconds=st.sampled_from([0.3, 2, GRACE_SECONDS + 1]))
    def pass_time(self, seconds: float) -> None:
        self.bucket.pass_time(seconds)

    # What is told of it.

    @precondition(lambda self: self.untold)
    @rule(number=numbers)
    def tell(self, number: int) -> None:
        """Any of them: late, and out of order."""
        body = self.untold.pop(number % len(self.untold))
        self.told.append(body)
        self._tell(body)

    @precondition(lambda self: self.told)
    @rule(number=numbers)
    def tell_again(self, number: int) -> None:
        self._tell(self.told[number % len(self.told)])

    @precondition(lambda self: self.untold and self.sweeps)
    @rule(number=numbers)
    def never_tell(self, number: int) -> None:
        self.untold.pop(number % len(self.untold))

    @precondition(lambda self: self.sweeps)
    @rule()
    def sweep(self) -> None:
        for key in KEYS:
            self.reconciler.reconcile(BUCKET, key)

    # What is done about it.

    @rule(messages=st.integers(1, 12))
    def work(self, messages: int) -> None:
        for _ in range(messages):
            if not self._work_once():
                return

    @rule(number=numbers)
    def lose_a_message(self, number: int) -> None:
        queues = [queue for queue in self.broker.queues.values() if queue]
        if queues:
            queues[number % len(queues)].popleft()

    @rule()
    def relay(self) -> None:
        self._relay()

    # What must be so.

    @invariant()
    def nothing_is_given_up_on(self) -> None:
        assert not self.broker.queues[topology.DEAD]

    def teardown(self) -> None:
        if hasattr(self, "bucket"):  # else no history was begun
            self._settle()
            self._compare()

    def _settle(self) -> None:
        """What is still untold is told, the latest first, or never, if there is a sweep. Then work, to the end."""
        for body in self.untold[:: -2 if self.sweeps else -1]:
            self._tell(body)
        self.bucket.pass_time(2 * GRACE_SECONDS)
        for _ in range(20):
            while self._work_once():
                pass
            outcomes = {self.reconciler.reconcile(BUCKET, key) for key in KEYS if self.sweeps}
            tidy(self.services)
            if outcomes <= {Outcome.SAME} and not self._relay():
                return
        raise AssertionError(f"It does not come to rest: {outcomes}")

    def _compare(self) -> None:
        with self.database.transaction() as connection:
            rows = connection.execute(
                text("""
                    SELECT DISTINCT ON (document.id) document.id, object_key, deleted_at, version.version,
                        version.etag, status, error_code
                    FROM documents AS document
                        JOIN document_versions AS version ON version.document_id = document.id
                        JOIN tasks ON tasks.id = version.task_id
                    ORDER BY document.id, version.version DESC
                """)
            ).all()
            open_tasks = connection.execute(text("SELECT count(*) FROM tasks WHERE completed_at IS NULL")).scalar_one()
        held = {key: found.etag for key in KEYS if (found := self.bucket.current(key)) is not None}
        assert {row.object_key: (row.etag, row.status) for row in rows} == {
            key: (etag, "COMPLETED") for key, etag in held.items()
        }
        assert open_tasks == 0
        expected = {
            f"{row.id}:{row.version}:{number}": f"{row.etag}-{number}".upper()
            for row in rows
            for number in range(WORDS)
        }
        assert {row: word for rows in self.index.rows.values() for row, word in rows.items()} == expected

    def _tell(self, body: bytes) -> None:
        self.broker.publish([Publication(topology.NOTIFICATIONS, "webhook", body)])
        self._work_queue(topology.NOTIFICATIONS)

    def _work_once(self) -> bool:
        return any(self._work_queue(topology.step_queue(name)) for name in topology.step_names())

    def _work_queue(self, queue: str) -> bool:
        """One delivery, and whatever waits on the ladder comes down: no time passes here."""
        self.broker._climb_down()
        if not self.broker.queues[queue]:
            return False
        delivery: Delivery = self.broker.queues[queue].popleft()
        with self.database.transaction() as connection:
            connection.execute(text("UPDATE task_details SET not_before = NULL"))
        if queue == topology.NOTIFICATIONS:
            self.ingress.handle([delivery])
        else:
            self.runtime.handle(delivery)
        return True

    def _relay(self) -> int:
        with self.database.transaction() as connection:
            connection.execute(text("UPDATE task_details SET ready_at = ready_at - interval '1 h'"))
        return self.outbox.relay(unsent_seconds=0, vanished_seconds=0, lost_seconds=0)


def _pipelines(bucket: BucketModel, index: MemoryIndex) -> dict[str, Pipeline]:  # noqa: C901 - tiny functions
    """The table's steps, by their names, with tiny functions."""

    def pin(ctx: Context) -> Iterator[Word]:
        """As VALIDATE does: these bytes or none."""
        target = ctx.target
        found = bucket.current(target.key)
        if target.version_id:
            found = next((one for one in bucket.keys.get(target.key, []) if one.version_id == target.version_id), None)
        if found is None:
            raise Rejected("It is gone.", code="OBJECT_GONE")
        if found.etag != target.etag:
            raise Superseded("It was overwritten.")
        yield from (Word(f"{found.etag}-{number}") for number in range(WORDS))

    def look(ctx: Context, words: Iterable[Word]) -> None:
        assert len(list(words)) == WORDS

    def shout(ctx: Context, words: Iterable[Word]) -> Iterator[Word]:
        yield from (Word(word.text.upper()) for word in words)

    def keep(ctx: Context, words: Iterable[Word]) -> None:
        target = ctx.target
        for number, word in enumerate(words):
            index.rows[target.document_id][f"{target.document_id}:{target.version}:{number}"] = word.text

    def forget(ctx: Context) -> None:
        index.rows.pop(ctx.target.document_id, None)
        with ctx.services.database.transaction() as connection:
            removals.forget(connection, ctx.target.document_id)

    functions: dict[str, Any] = {"VALIDATE": pin, "VECTORIZE": shout, "STORE": keep, "REMOVE": forget, "ERASE": forget}
    made = {}
    for pipeline in (DOCUMENT_UPLOAD, DOCUMENT_DELETE):
        steps = [
            Step(
                step.name,
                functions.get(step.name, look) if step.function else None,
                batch=2 if step.batch else None,
                when_asked=step.when_asked,
            )
            for step in pipeline.steps
        ]
        made[pipeline.name] = Pipeline(pipeline.name, tuple(steps))
    return made


@pytest.mark.timeout(1800)  # with as many examples as one may ask for
def test_whatever_becomes_of_events_what_is_known_in_the_end_is_what_the_bucket_holds(database_url: str) -> None:
    class Here(Events):
        settings_ = Settings(database_url=database_url, lease_seconds=0.001, inline_artifact_bytes=64)
        database = Database(settings_)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
    Here.database.close()
