"""The sweep as a whole: what it finds without any notification, where it goes on, and what it does not dare."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from common.merging import by_folder
from common.services import Services
from common.settings import Settings
from common.steps import StepRef
from deploy.cli import app
from functions.schedule.sweep import Swept, sweep, sweep_quickly
from router.table import watches
from tests.integration.rig import Rig
from tests.integration.scene import Scene

pytestmark = pytest.mark.integration


class SweepScene(Scene):
    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.limit(1000)
        self.sent: list[StepRef] = []

    def limit(self, removals: int) -> None:
        settings = self.rig.services.settings.model_copy(update={"sweep_removals": removals})
        self.services = cast(
            Services, SimpleNamespace(settings=settings, database=self.rig.database, objects=self.store)
        )

    def sweep(self, **options: Any) -> Swept:
        (swept,) = sweep(self.services, watches(), now=True, send=self.sent.extend, **options)
        return swept

    def fill(self, keys: list[str]) -> None:
        for number, key in enumerate(keys):
            self.store.put(key, f"e{number}")
        self.sweep()

    def live(self) -> set[str]:
        return {key for (key,) in self.rows("SELECT object_key FROM documents WHERE deleted_at IS NULL")}


@pytest.fixture
def scene(rig: Rig) -> SweepScene:
    return SweepScene(rig)


ODD = [
    "incoming/a",
    "incoming/a-b",
    "incoming/a.txt",
    "incoming/a/b",
    "incoming/a/b-c",
    "incoming/水/😀",
    "incoming/\uffee",
]


def test_it_finds_what_was_put_overwritten_and_removed_and_sends_what_begins(scene: SweepScene) -> None:
    scene.fill([*ODD, "elsewhere/a"])
    assert scene.live() == set(ODD)
    assert {ref.step_name for ref in scene.sent} == {"VALIDATE"}
    scene.store.put(ODD[0], "other")
    scene.store.remove(ODD[1])
    swept = scene.sweep()
    assert (swept.counts.arrived, swept.counts.removed, swept.counts.missing) == (1, 1, 0)
    assert scene.live() == set(ODD) - {ODD[1]}
    asked = len(scene.store.asked)
    assert scene.sweep().counts.arrived == 0
    assert len(scene.store.asked) == asked, "what has not changed is not asked for"


def test_the_order_of_a_store_over_a_file_system_is_learnt_once(scene: SweepScene) -> None:
    scene.store.order = by_folder
    scene.fill(ODD)
    assert scene.live() == set(ODD)
    asked, lists = len(scene.store.asked), len(scene.store.listed_after)
    scene.store.remove("incoming/a-b")
    assert scene.sweep().counts.removed == 1
    assert len(scene.store.listed_after) == lists + 1, "it need not begin again"
    assert scene.store.asked[asked:] == ["incoming/a-b"] * 2
    assert scene.rows("SELECT by_folder FROM sweeps") == [(True,)]


def test_one_that_was_broken_off_goes_on_there_and_forgets_nothing(scene: SweepScene) -> None:
    keys = [f"incoming/{number:05}" for number in range(1500)]
    fill_rows(scene, keys)
    scene.store.remove(keys[3])
    scene.store.breaks_at = keys[1400]
    swept = scene.sweep()
    assert swept.error is not None
    assert "went away" in swept.error
    assert scene.rows("SELECT after_key, counts -> 'gone' FROM sweeps") == [(keys[1000], [keys[3]])]
    assert keys[3] in scene.live(), "removed at the end only"
    scene.store.breaks_at = None
    scene.store.put(keys[700], "other")  # behind it; the next sweep's
    assert scene.sweep().counts.removed == 1
    assert scene.store.listed_after[-1] == keys[1000]
    assert keys[3] not in scene.live()
    assert scene.sweep().counts.arrived == 1
    assert scene.store.listed_after[-1] is None


def fill_rows(scene: SweepScene, keys: list[str]) -> None:
    """Documents as if all of these had arrived, and their objects."""
    for key in keys:
        scene.store.put(key, "e")
    scene.rig.sql(
        """
        INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
        SELECT key, key, 'b', key, 'default', 'admin' FROM unnest(ARRAY['{}']) AS key;
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at)
        SELECT id, 'DOCUMENT_UPLOAD', id, 1, 'default', 'admin', 'COMPLETED', now() FROM documents;
        INSERT INTO document_versions (document_id, version, task_id, etag) SELECT id, 1, id, 'e' FROM documents
        """.format("','".join(keys))
    )


def test_more_removals_than_a_sweep_dares_need_a_persons_word(scene: SweepScene) -> None:
    scene.fill(ODD)
    scene.limit(3)
    for key in ODD[:5]:
        scene.store.remove(key)
    for _ in range(2):
        swept = scene.sweep()
        assert swept.error is not None
        assert "5 documents" in swept.error
        assert "brigade sweep --removals 5" in swept.error
        assert scene.live() == set(ODD)
    assert scene.rows("SELECT error FROM sweeps") == [(swept.error,)]
    assert scene.sweep(restart=True, removals=5).error is None
    assert scene.live() == set(ODD[5:])
    assert scene.rows("SELECT error FROM sweeps") == [(None,)]


def test_a_bucket_that_is_bare_all_at_once_is_a_lost_disk(scene: SweepScene) -> None:
    scene.fill(ODD[:2])
    scene.store.objects.clear()
    scene.store.bare = True
    assert "the bucket is empty altogether" in str(scene.sweep().error)
    assert scene.live() == set(ODD[:2])
    assert scene.sweep(restart=True, removals=2).error is None
    assert scene.live() == set()


def test_a_store_that_refuses_to_tell_of_keys_breaks_it_off(scene: SweepScene) -> None:
    scene.fill(ODD)
    for key in ODD[:4]:
        scene.store.remove(key)
    scene.store.refused = set(ODD)
    scene.store.put("incoming/鳥", "new")
    scene.store.answering_clock = [True, False]  # at the start, and no more
    assert scene.sweep().error == "The store is away."
    assert scene.live() == set(ODD)


def test_keys_that_a_store_refuses_for_ever_hold_up_no_other(scene: SweepScene) -> None:
    scene.fill(ODD)
    for key in ODD[:4]:
        scene.store.remove(key)
    scene.store.refused = set(ODD[:4])
    scene.store.put("incoming/鳥", "new")
    swept = scene.sweep()
    assert (swept.error, swept.counts.refused, swept.counts.arrived) == (None, 4, 1)
    assert scene.live() == {*ODD, "incoming/鳥"}


def test_what_is_missing_is_counted_once_however_often_it_is_broken_off(scene: SweepScene) -> None:
    keys = [f"incoming/{number:05}" for number in range(1500)]
    fill_rows(scene, keys)
    for key in (keys[3], keys[1100]):
        scene.store.remove(key)
    scene.store.breaks_at = keys[1400]
    for _ in range(3):
        assert scene.sweep().error is not None
    assert scene.rows("SELECT counts ->> 'missing', counts -> 'gone' FROM sweeps") == [("1", [keys[3]])]
    scene.store.breaks_at = None
    assert scene.sweep().counts.removed == 2


def test_another_store_under_the_old_name_removes_nothing(scene: SweepScene) -> None:
    keys = [f"incoming/{number:02}" for number in range(12)]
    scene.fill(keys)
    for key in keys[:11]:
        scene.store.remove(key)
    assert "is this the store that they came from?" in str(scene.sweep().error)
    assert scene.live() == set(keys)
    assert scene.sweep(restart=True, removals=11).error is None
    assert scene.live() == {keys[11]}


def test_it_is_done_when_it_is_due_and_by_one_at_a_time(scene: SweepScene) -> None:
    def sweeps() -> int:
        return len(sweep(scene.services, watches()))

    assert [sweeps(), sweeps()] == [1, 0]
    scene.rig.sql("UPDATE sweeps SET ended_at = now() - interval '601 seconds'")
    with scene.rig.database.alone("sweep:b/incoming/"):
        assert sweeps() == 0
    assert sweeps() == 1
    scene.rig.sql("UPDATE sweeps SET ended_at = now() - interval '601 seconds', counts = '{\"seconds\": 70}'")
    assert sweeps() == 0, "a tenth of the time"
    scene.rig.sql("UPDATE sweeps SET after_key = 'incoming/a'")
    assert sweeps() == 1, "its process died"


def test_a_bucket_that_cannot_be_reached_says_so_and_is_tried_again_after_a_minute(scene: SweepScene) -> None:
    scene.store.away = True
    assert scene.sweep().error == "The store is away."
    assert scene.rows("SELECT error FROM sweeps") == [("The store is away.",)]
    scene.store.away = False
    assert sweep(scene.services, watches()) == []
    scene.rig.sql("UPDATE sweeps SET ended_at = now() - interval '61 seconds'")
    assert [one.error for one in sweep(scene.services, watches())] == [None]


def test_keys_that_nobody_can_keep_are_passed_over(scene: SweepScene) -> None:
    scene.fill(["incoming/a\0b", "incoming/" + "x" * 1020, "incoming/a/../b", "incoming/./a", "incoming/..b."])
    assert scene.live() == {"incoming/..b."}


def test_a_quick_one_asks_for_what_is_waited_for_and_less_and_less(scene: SweepScene) -> None:
    scene.fill(ODD)
    come, late = scene.announce(), scene.announce()
    scene.store.put(come.key, "e")
    scene.store.asked.clear()
    assert sweep_quickly(scene.services, watches()) == 0
    assert scene.store.asked == [], "they are young"
    scene.rig.sql("UPDATE document_versions SET created_at = now() - interval '100 seconds'")
    assert sweep_quickly(scene.services, watches()) == 1
    assert set(scene.store.asked) == {come.key, late.key}
    assert scene.rig.task(come.task_id)["status"] == "RUNNING"
    for seconds, looks in ((20, 0), (26, 1)):
        scene.store.asked.clear()
        scene.rig.sql(f"UPDATE document_versions SET looked_at = now() - interval '{seconds} seconds'")
        sweep_quickly(scene.services, watches())
        assert len(scene.store.asked) == looks


def test_a_store_without_notifications_works_by_the_sweep_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real store, whose bucket has no rules; and the command as people use it."""
    monkeypatch.setenv("BRIGADE_SWEEP_GRACE_SECONDS", "0")
    keys = ["incoming/a b+c%.txt", "incoming/a/水.txt", "incoming/a-b.txt"]
    with closing(Services(settings)) as services:

        def documents() -> dict[str, int]:
            with services.database.transaction() as connection:
                rows = connection.execute(
                    text("""
                        SELECT object_key, max(version) FROM documents JOIN document_versions ON document_id = id
                        WHERE deleted_at IS NULL GROUP BY object_key
                    """)
                )
                return {row[0]: row[1] for row in rows}

        def put(key: str, body: bytes = b"1") -> None:
            services.objects.admin.put_object(Bucket=settings.bucket, Key=key, Body=body)

        for key in [*keys, "artifacts/t/pin"]:
            put(key)
        assert command("sweep")["arrived"] == 3
        put(keys[0], b"2")
        services.objects.admin.delete_object(Bucket=settings.bucket, Key=keys[1])
        found = command("sweep", "--restart")
        assert (found["arrived"], found["removed"], found["listed"]) == (1, 1, 2)
        assert documents() == {keys[0]: 2, keys[2]: 1}
        assert command("sweep", "--quick") == {"arrived": 0}


def command(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    return cast("dict[str, Any]", told[0] if isinstance(told, list) else told)
