"""One key that nobody told of: what is made up for it, and what never is, whatever else happens at the same time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from common import documents, removals
from common.events import ObjectCreated, ObjectRemoved
from common.objects import ObjectStore
from common.reconciling import Outcome, Reconciler
from common.steps import StepRef
from router.table import DOCUMENT_DELETE
from tests.integration.rig import Rig
from tests.integration.scene import Scene

pytestmark = pytest.mark.integration

KEY = "incoming/a.txt"


class KeyScene(Scene):
    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.reconciler = Reconciler(
            rig.database, cast(ObjectStore, self.store), rig.pipeline, DOCUMENT_DELETE, grace_seconds=10
        )

    def look(self, key: str = KEY, **options: Any) -> Outcome:
        return self.reconciler.reconcile("b", key, **options)

    def look_as_listed(self, key: str = KEY) -> Outcome:
        return self.look(key, listed=self.store.objects[key])

    def tell(self, event: ObjectCreated | ObjectRemoved) -> list[StepRef]:
        """A real notification."""
        with self.rig.database.transaction() as connection:
            if isinstance(event, ObjectRemoved):
                return documents.depart(connection, event, DOCUMENT_DELETE)
            return documents.arrive(connection, event, self.rig.pipeline, DOCUMENT_DELETE)

    def etags(self) -> list[Any]:
        return self.rows("SELECT version, etag FROM document_versions ORDER BY document_id, version")

    def end(self, status: str, code: str = "X") -> None:
        self.rig.sql(f"UPDATE tasks SET status = '{status}', error_code = '{code}', completed_at = now()")


@pytest.fixture
def scene(rig: Rig) -> KeyScene:
    return KeyScene(rig)


def test_a_drop_an_overwrite_and_a_removal_are_made_up_once_each(scene: KeyScene) -> None:
    scene.store.put(KEY, "e1")
    assert [scene.look(), scene.look()] == [Outcome.ARRIVED, Outcome.SAME]
    scene.store.put(KEY, "e2")
    assert [scene.look(), scene.look()] == [Outcome.ARRIVED, Outcome.SAME]
    assert scene.etags() == [(1, "e1"), (2, "e2")]
    scene.store.remove(KEY)
    assert [scene.look(remove=False), scene.look(), scene.look()] == [Outcome.GONE, Outcome.REMOVED, Outcome.SAME]
    assert scene.rig.count("documents WHERE deleted_at IS NULL") == 0


def test_an_announced_upload_begins_with_the_type_that_the_store_tells(scene: KeyScene) -> None:
    one = scene.announce()
    assert scene.look(one.key) is Outcome.SAME, "nobody misses what was only announced"
    scene.store.put(one.key, "e1")
    assert scene.look_as_listed(one.key) is Outcome.ARRIVED
    assert scene.rig.task(one.task_id)["status"] == "RUNNING"
    assert scene.rows("SELECT content_type FROM document_versions") == [("text/plain",)]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "COMPLETED"])
@pytest.mark.parametrize("as_listed", [True, False])
def test_a_notification_that_comes_late_begins_nothing_again(scene: KeyScene, status: str, as_listed: bool) -> None:
    late = scene.store.put(KEY, "e1")
    assert (scene.look_as_listed() if as_listed else scene.look()) is Outcome.ARRIVED
    scene.end(status)
    assert scene.tell(late) == []
    assert scene.etags() == [(1, "e1")]


def test_other_bytes_within_the_same_second_are_news(scene: KeyScene) -> None:
    scene.store.put(KEY, "e1", back=60.5)
    scene.look()
    assert scene.tell(scene.store.put(KEY, "e2", back=60.2))
    assert scene.etags() == [(1, "e1"), (2, "e2")]


def test_a_removal_that_is_told_late_removes_nothing_new(scene: KeyScene) -> None:
    scene.tell(scene.store.put(KEY, "e1"))
    late = scene.store.remove(KEY)
    assert scene.look() is Outcome.REMOVED
    assert scene.tell(late) == []
    scene.store.now += timedelta(seconds=60)
    assert scene.tell(scene.store.put(KEY, "e3", back=30)), "what is put there later is another document"


def test_what_a_real_event_changes_meanwhile_is_left_to_it(scene: KeyScene) -> None:
    late = scene.store.put(KEY, "e1")
    scene.store.answering = lambda: scene.tell(late)
    assert scene.look() is Outcome.CHANGED
    assert scene.etags() == [(1, "e1")]
    scene.store.answering = lambda: scene.tell(scene.store.put(KEY, "e2", back=60))
    scene.store.remove(KEY)
    assert scene.look() is Outcome.CHANGED, "the removal that was seen is of earlier bytes"
    assert scene.rig.count("documents WHERE deleted_at IS NULL") == 1


def test_what_a_person_deletes_meanwhile_does_not_come_back(scene: KeyScene) -> None:
    scene.tell(scene.store.put(KEY, "e1"))
    ((document_id,),) = scene.rows("SELECT id FROM documents")

    def delete() -> None:
        with scene.rig.database.transaction() as connection:
            removals.ask(connection, document_id, DOCUMENT_DELETE, user_id="admin")

    scene.store.put(KEY, "e2")
    scene.store.answering = delete
    assert scene.look() is Outcome.CHANGED
    scene.store.answering = lambda: scene.rig.sql("DELETE FROM documents")
    scene.store.put(KEY, "e1")
    assert scene.look() is Outcome.LEAVING


def test_bytes_of_a_document_that_is_being_deleted_are_left_to_its_removal(scene: KeyScene) -> None:
    scene.tell(scene.store.put(KEY, "e1"))
    ((document_id,),) = scene.rows("SELECT id FROM documents")
    with scene.rig.database.transaction() as connection:
        removals.ask(connection, document_id, DOCUMENT_DELETE, user_id="admin")
    assert [scene.look(), scene.look_as_listed()] == [Outcome.LEAVING] * 2
    scene.store.put(KEY, "e2")
    assert scene.look() is Outcome.ARRIVED, "other bytes are another document"


def test_an_upload_that_comes_while_its_document_is_deleted_is_deleted_too_and_once(scene: KeyScene) -> None:
    one = scene.announce()
    with scene.rig.database.transaction() as connection:
        removals.ask(connection, one.document_id, DOCUMENT_DELETE, user_id="admin")
    scene.store.put(one.key, "e1")
    assert [scene.look(one.key), scene.look(one.key)] == [Outcome.ARRIVED, Outcome.LEAVING]
    assert scene.rig.count("documents") == 1
    assert scene.rig.count("tasks WHERE type = 'DOCUMENT_DELETE'") == 2


def test_what_lay_there_when_a_person_deleted_the_upload_is_no_new_document(scene: KeyScene) -> None:
    one = scene.announce()
    assert scene.tell(scene.store.put(one.key, "e1", back=60))
    late = scene.store.put(one.key, "e2", back=30)
    with scene.rig.database.transaction() as connection:
        removals.ask(connection, one.document_id, DOCUMENT_DELETE, user_id="admin")
    assert scene.tell(late) == []
    assert scene.rig.count("documents") == scene.rig.count("tasks WHERE type = 'DOCUMENT_DELETE'") == 1
    scene.store.now += timedelta(days=36500)
    assert scene.tell(scene.store.put(one.key, "e3")), "what is put there afterwards is"


def test_what_is_put_after_the_object_was_removed_is_a_new_document(scene: KeyScene) -> None:
    one = scene.announce()
    assert scene.tell(scene.store.put(one.key, "e1", back=60))
    assert scene.tell(scene.store.remove(one.key))
    scene.store.now += timedelta(seconds=90)
    assert scene.tell(scene.store.put(one.key, "e2", back=30))


def test_what_is_young_by_the_stores_clock_is_left_to_its_notification(scene: KeyScene) -> None:
    scene.store.put(KEY, "e1", back=5)
    assert scene.look() is Outcome.YOUNG
    scene.store.now += timedelta(seconds=10)
    assert scene.look() is Outcome.ARRIVED


def test_a_store_whose_clock_was_set_back_is_believed_all_the_same(scene: KeyScene) -> None:
    scene.tell(scene.store.put(KEY, "e1", back=-7200))  # the clock was two hours ahead
    scene.store.put(KEY, "e2", back=60)
    assert scene.look() is Outcome.ARRIVED
    assert scene.tell(scene.store.put(KEY, "e3", back=0)), "what comes now is news again"
    scene.store.put(KEY, "e4", back=-7200)
    assert scene.look() is Outcome.ARRIVED, "nothing is young for two hours"


def test_an_older_version_that_came_back_is_newer_than_the_events_before_it(scene: KeyScene) -> None:
    old = scene.store.put(KEY, "old", back=7200)
    scene.tell(old)
    newest = scene.store.put(KEY, "newest", back=60)
    scene.tell(newest)
    scene.store.put(KEY, "old", back=7200)  # the newest version was removed, and nobody told
    assert scene.look() is Outcome.ARRIVED
    assert scene.tell(newest) == [], "told again"
    assert [etag for _, etag in scene.etags()] == ["old", "newest", "old"]


def test_a_store_that_refuses_to_answer_removes_nothing(scene: KeyScene) -> None:
    scene.tell(scene.store.put(KEY, "e1"))
    scene.store.refused = {KEY}
    with pytest.raises(Exception, match="AccessDenied"):
        scene.look()
    assert scene.rig.count("documents WHERE deleted_at IS NULL") == 1
