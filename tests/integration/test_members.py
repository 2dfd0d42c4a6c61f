"""What archives and e-mails hold becomes documents, by way of the bucket, and leaves with them."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from common import arrivals, artifacts, documents, removals
from common.artifacts import Artifact
from common.context import Context
from common.errors import LeaseLost, Retryable
from common.events import ObjectCreated
from common.jail import Jail
from common.members import prefix_of, take
from common.objects import ObjectStore
from common.pipelines import Pipeline, Step, Watch
from common.records import Page
from common.services import Services
from common.settings import Settings
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
DELETE = Pipeline(
    "DOCUMENT_DELETE", (Step("ERASE", erase, weight=1, when_asked=True), Step("REMOVE", forget, weight=1))
)


class Scene:
    """A real bucket and database, the first half of the chain, and a sweep that tells of everything."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(
            update={"sweep_grace_seconds": 0, "max_members": 12, "max_members_bytes": 1 << 20, "max_member_levels": 2}
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

    def base(self, name: str) -> None:
        with self.database.transaction() as connection:
            connection.execute(
                text("INSERT INTO knowledge_bases (id, name, owner_id) VALUES (:id, :id, 'admin')"), {"id": name}
            )

    def ingest(self, key: str, content: bytes, base: str = "default") -> str:
        """The document of this object, when all that comes of it has come."""
        self.put(key, content)
        self.tell()
        if base != "default":
            with self.database.transaction() as connection:
                for statement in ("documents SET", "tasks SET"):
                    connection.execute(text(f"UPDATE {statement} knowledge_base_id = :base"), {"base": base})
        self.settle()
        ((document_id,),) = self.rows(
            "SELECT id FROM documents WHERE object_key = :key AND deleted_at IS NULL", key=key
        )
        return str(document_id)

    def members(self, document_id: str) -> dict[str, str]:
        found = self.rows(
            "SELECT id, metadata ->> 'path' FROM documents WHERE parent_id = :id AND deleted_at IS NULL", id=document_id
        )
        return {path: self.text_of(member) for member, path in found}

    def text_of(self, document_id: str) -> str:
        """What the newest version's EXTRACT_TEXT made, as one text."""
        ((inline, key),) = self.rows(
            """
            SELECT output, output_key FROM task_details JOIN tasks ON id = task_id
            WHERE document_id = :id AND step_name = 'EXTRACT_TEXT' ORDER BY version DESC LIMIT 1
            """,
            id=document_id,
        )
        made = [Artifact(inline=None if inline is None else bytes(inline), key=key)]
        return "".join(page.text for page in artifacts.read(self.objects, made, Page))

    def settle(self) -> None:
        """Tell of what is in the bucket and run what comes of it, until nothing is new."""
        while self.tell() or self.run():
            pass

    def tell(self) -> int:
        swept = sweep(self.services, [Watch("incoming/", UPLOAD, DELETE)], send=self._send, now=True, removals=1000)
        return sum(one.counts.arrived + one.counts.removed for one in swept)

    def run(self) -> bool:
        ran: list[Delivery] = []

        def handle(delivery: Delivery) -> None:
            ran.append(delivery)
            assert len(ran) < 500
            # The fake broker's ladder takes no time; the database's clock must not either.
            with self.database.transaction() as connection:
                connection.execute(text("UPDATE task_details SET not_before = NULL WHERE not_before IS NOT NULL"))
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


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


@pytest.fixture
def scene(settings: Settings, jail: Jail) -> Iterator[Scene]:
    scene = Scene(settings)
    scene.services.jail = jail
    yield scene
    scene.database.close()


def test_what_is_in_an_archive_becomes_documents_of_its_base_and_owner(scene: Scene) -> None:
    parent = scene.ingest("incoming/a.zip", archive({"a.txt": b"Hello A", "docs/b.txt": b"Hello B"}))
    assert scene.members(parent) == {"a.txt": "Hello A", "docs/b.txt": "Hello B"}
    assert scene.rows("SELECT DISTINCT knowledge_base_id, user_id FROM documents") == [("default", "admin")]
    assert scene.rows('SELECT name FROM documents WHERE metadata = \'{"path": "docs/b.txt"}\'') == [("b.txt",)]
    assert "- docs/b.txt, 7 bytes" in scene.text_of(parent)


def test_members_belong_to_their_parents_base_on_both_roads(scene: Scene) -> None:
    scene.base("other")
    parent = scene.ingest("incoming/a.zip", archive({"a.txt": b"Hello A"}), base="other")
    bucket = scene.objects.bucket
    events = [
        ObjectCreated(bucket, f"{prefix_of(parent)}late{number}.txt", f"{number + 1:032X}", etag="e", size=5)
        for number in range(2)
    ]
    foreign = ObjectCreated("elsewhere", f"{prefix_of(parent)}foreign.txt", f"{9:032X}", etag="e", size=5)
    orphan = ObjectCreated(bucket, f"{prefix_of(str(uuid4()))}orphan.txt", f"{9:032X}", etag="e", size=5)
    with scene.database.transaction() as connection:
        ready = arrivals.drop(connection, [events[0], foreign, orphan], UPLOAD)
        assert ready[0].lane == "other"
        assert set(ready) == {0}, "what has no parent here is for the road that asks why"
        for event in (events[1], foreign, orphan):
            assert documents.arrive(connection, event, UPLOAD, DELETE)
    bases = dict(scene.rows("SELECT name, knowledge_base_id FROM documents WHERE name <> 'a.zip'"))
    assert bases.pop("foreign.txt") == bases.pop("orphan.txt") == "default"
    assert set(bases.values()) == {"other"}
    assert len(bases) == 3
    lanes = scene.rows(
        "SELECT DISTINCT lane FROM task_details JOIN tasks ON id = task_id WHERE document_id <> :id"
        " AND knowledge_base_id = 'other'",
        id=parent,
    )
    assert lanes == [("other",)]


def test_a_second_run_puts_nothing_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    put = ObjectStore.put_stream
    keys: list[str] = []

    def fails_once(self: ObjectStore, key: str, *rest: Any, **options: Any) -> None:
        put(self, key, *rest, **options)
        if ".parts/" in key:
            keys.append(key.rpartition("/")[2])
            if len(keys) == 2:
                raise Retryable("The worker died here.")

    monkeypatch.setattr(ObjectStore, "put_stream", fails_once)
    large = b"x" * (6 << 20)  # in parts, so that its ETag is not its MD5
    scene.settings.__dict__["max_members_bytes"] = 10 << 20
    parent = scene.ingest("incoming/a.zip", archive({"a.txt": b"A", "large.txt": large, "c.txt": b"C"}))
    assert keys == ["a.txt", "large.txt", "c.txt"]
    assert scene.rows("SELECT count(*) FROM document_versions WHERE document_id <> :id", id=parent) == [(3,)]


def test_a_new_version_keeps_changes_and_removes(scene: Scene) -> None:
    parent = scene.ingest("incoming/a.zip", archive({"same.txt": b"Same", "old.txt": b"Old", "changed.txt": b"One"}))
    again = scene.ingest("incoming/a.zip", archive({"same.txt": b"Same", "new.txt": b"New", "changed.txt": b"Two"}))
    assert again == parent
    assert scene.members(parent) == {"same.txt": "Same", "new.txt": "New", "changed.txt": "Two"}
    versions = dict(
        scene.rows("SELECT name, max(version) FROM documents JOIN document_versions ON id = document_id GROUP BY 1")
    )
    assert versions == {"a.zip": 2, "same.txt": 1, "new.txt": 1, "changed.txt": 2}
    assert scene.keys() == {
        "incoming/a.zip",
        *(prefix_of(parent) + name for name in ("same.txt", "new.txt", "changed.txt")),
    }
    scene.ingest("incoming/a.zip", b"Now it is a text.")
    assert scene.members(parent) == {}
    assert scene.keys() == {"incoming/a.zip"}


def test_a_member_that_was_deleted_stays_so_when_its_archive_is_processed_again(scene: Scene) -> None:
    one = archive({"kept.txt": b"Kept", "deleted.txt": b"Deleted"})
    parent = scene.ingest("incoming/a.zip", one)
    ((deleted,),) = scene.rows("SELECT id FROM documents WHERE name = 'deleted.txt'")
    with scene.database.transaction() as connection:
        removals.ask(connection, deleted, DELETE, user_id="admin")
    scene.settle()
    with scene.database.transaction() as connection:
        documents.reprocess(connection, parent, UPLOAD, user_id="admin")
    scene.settle()
    assert scene.rows("SELECT max(version) FROM document_versions WHERE document_id = :id", id=parent) == [(2,)]
    assert scene.members(parent) == {"kept.txt": "Kept"}
    # Other bytes in between took away what these had, and nobody deleted that.
    scene.ingest("incoming/a.zip", archive({"other.txt": b"Other"}))
    scene.ingest("incoming/a.zip", one)
    assert scene.members(parent) == {"kept.txt": "Kept", "deleted.txt": "Deleted"}


@pytest.mark.parametrize("by_event", [False, True])
def test_members_leave_with_their_parent_and_so_does_what_arrives_later(scene: Scene, by_event: bool) -> None:
    inner = archive({"deep.txt": b"Deep"})
    parent = scene.ingest("incoming/a.zip", archive({"a.txt": b"Hello A", "inner.zip": inner}))
    late = f"{prefix_of(parent)}late.txt"
    if by_event:
        scene.objects.admin.delete_object(Bucket=scene.objects.bucket, Key="incoming/a.zip")
    else:
        with scene.database.transaction() as connection:
            removals.ask(connection, parent, DELETE, user_id="admin")
    scene.settle()
    scene.put(late, b"This came when all was over.")
    scene.settle()
    assert scene.rows("SELECT name FROM documents") == []
    assert scene.keys() == set()
    assert scene.rows("SELECT count(*) FROM tasks WHERE type = 'DOCUMENT_DELETE' AND status = 'COMPLETED'") == [(5,)]


def test_archives_within_archives_end_at_the_depth_that_is_allowed(scene: Scene) -> None:
    content = archive({"bottom.txt": b"Bottom"})
    for level in (3, 2, 1):
        content = archive({f"level{level}.zip": content, "beside.txt": b"Beside"})
    scene.ingest("incoming/a.zip", content)
    names = [name for (name,) in scene.rows("SELECT name FROM documents ORDER BY name")]
    assert names == ["a.zip", "beside.txt", "beside.txt", "level1.zip", "level2.zip"]
    (deepest,) = scene.rows("SELECT id FROM documents WHERE name = 'level2.zip'")
    assert "- level3.zip, " in scene.text_of(deepest[0])
    assert "(BRIGADE_MAX_MEMBER_LEVELS)" in scene.text_of(deepest[0])


def test_what_archives_in_one_another_unfold_to_is_counted_together(scene: Scene) -> None:
    inner = archive({f"{number}.txt": b"%d" % number for number in range(5)})
    scene.ingest("incoming/a.zip", archive({f"{name}.zip": inner for name in "abcd"}))
    assert scene.rows("SELECT count(*), sum(member_count) FROM documents WHERE parent_id IS NOT NULL") == [(12, 12 - 4)]
    assert scene.rows("SELECT count(*) FROM tasks WHERE status <> 'COMPLETED'") == [(0,)]


def test_a_mail_that_carries_itself_ends_and_its_attachments_are_documents(scene: Scene) -> None:
    mail = innermost = EmailMessage()
    mail["From"], mail["Subject"] = "Ada <ada@example.org>", "Myself"
    mail.set_content("I carry myself.")
    mail.add_attachment(b"What is attached.", maintype="text", subtype="plain", filename="a.txt")
    for _ in range(3):
        outer = copy.deepcopy(innermost)
        outer.add_attachment(mail)
        mail = outer
    parent = scene.ingest("incoming/mail.eml", mail.as_bytes())
    assert scene.members(parent)["a.txt"] == "What is attached."
    mails = scene.rows("SELECT count(*) FROM documents WHERE name LIKE '%.eml'")
    assert mails == [(3,)], "itself, and what is allowed within it"
    assert "From: Ada <ada@example.org>" in scene.text_of(parent)


def test_who_was_overtaken_by_a_newer_version_puts_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = scene.ingest("incoming/a.zip", archive({"a.txt": b"A"}))
    ((ended,),) = scene.rows("SELECT task_id FROM document_versions WHERE document_id = :id", id=parent)
    with scene.database.transaction() as connection, pytest.raises(LeaseLost):
        take(connection, parent, ended, count=1, size=1, most=9, most_bytes=9)
    scene.put("incoming/a.zip", archive({"a.txt": b"B"}))
    monkeypatch.setattr(scene.database, "alone", taken_once(scene.database.alone))
    scene.settle()
    assert scene.rows("SELECT max(attempt) FROM task_details WHERE step_name = 'EXTRACT_TEXT'") == [(2,)]
    assert scene.members(parent) == {"a.txt": "B"}


def taken_once(alone: Any) -> Any:
    """The lock, which somebody else has when it is first asked for."""
    asked: list[str] = []

    @contextmanager
    def lock(name: str) -> Iterator[bool]:
        with alone(name) as ours:
            asked.extend([name] if name.startswith("members:") else [])
            yield ours and asked != [name]

    return lock
