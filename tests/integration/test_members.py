"""What archives and e-mails hold becomes documents, by way of the bucket, and leaves with them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import text

from common import documents, removals
from common.context import Context
from common.events import ObjectCreated
from common.objects import ObjectStore
from common.pipelines import Pipeline, Step, Watch
from common.reconciling import Reconciler
from common.services import Services
from common.settings import Settings
from common.steps import StepRef
from functions.ingest.erase import erase
from functions.ingest.extract import extract
from functions.ingest.validate import validate
from functions.schedule.sweep import sweep
from router.broker import Delivery
from router.fake_broker import FakeBroker
from router.leases import Leases
from router.outbox import Outbox
from router.runtime import Runtime
from tests.unit.documents import archive

pytestmark = pytest.mark.integration


def forget(ctx: Context) -> None:
    """REMOVE without Milvus."""
    with ctx.services.database.transaction() as connection:
        removals.forget(connection, ctx.target.document_id)


UPLOAD = Pipeline(
    "DOCUMENT_UPLOAD",
    (Step("UPLOAD", weight=1), Step("VALIDATE", validate, weight=1), Step("EXTRACT_TEXT", extract, weight=1)),
)
DELETE = Pipeline("DOCUMENT_DELETE", (Step("ERASE", erase, weight=1, when_asked=True), Step("REMOVE", forget, weight=1)))


class Scene:
    """A real bucket and database, the first half of the chain, and a sweep that tells of everything."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(
            update={"sweep_grace_seconds": 0, "max_members": 50, "max_members_bytes": 1 << 20, "max_member_levels": 2}
        )
        self.services = Services(self.settings)
        self.objects, self.database = self.services.objects, self.services.database
        self.broker = FakeBroker()
        self.outbox = Outbox(self.database, self.broker, lane_runs=8)
        self.runtime = Runtime(
            self.services,
            self.broker,
            owner="me",
            leases=Leases(self.database, lease_seconds=60),
            outbox=self.outbox,
            pipelines={one.name: one for one in (UPLOAD, DELETE)},
        )

    def put(self, key: str, content: bytes) -> None:
        self.objects.put_stream(key, io.BytesIO(content), len(content))

    def settle(self) -> None:
        """Tell of what is in the bucket and run what comes of it, until nothing is new."""
        while sum(self._tell()) or self._run():
            pass

    def _tell(self) -> tuple[int, int]:
        swept = sweep(self.services, [Watch("incoming/", UPLOAD, DELETE)], send=self._send, now=True, removals=1000)
        return sum(one.counts.arrived for one in swept), sum(one.counts.removed for one in swept)

    def _run(self) -> bool:
        with self.database.transaction() as connection:
            connection.execute(text("UPDATE task_details SET not_before = NULL"))
        ran: list[Delivery] = []

        def handle(delivery: Delivery) -> None:
            ran.append(delivery)
            assert len(ran) < 500
            self.runtime.handle(delivery)

        self.outbox.relay(unsent_seconds=0, vanished_seconds=60, lost_seconds=60)
        self.broker.deliver(handle)
        return bool(ran)

    def _send(self, refs: Any) -> None:
        with self.database.transaction() as connection:
            due = self.outbox.admit(connection, refs)
        self.outbox.send(due)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.database.transaction() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    def keys(self) -> set[str]:
        return {one.key for one in self.objects.listed(self.objects.bucket, "incoming/")}


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    scene = Scene(settings)
    yield scene
    scene.services.close()


def test_x(scene: Scene) -> None:
    scene.put("incoming/a.zip", archive({"a.txt": b"Hello A", "docs/b.txt": b"Hello B"}))
    scene.settle()
    print(scene.rows("SELECT name, object_key, parent_id, metadata FROM documents"))
    print(scene.rows("SELECT status, error_message, document_id FROM tasks"))
    print(scene.rows("SELECT step_name, status, error_message, details FROM task_details"))
    print(scene.keys())
    assert 0
