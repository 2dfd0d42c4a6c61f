"""Documents that are processed again after their base's options were changed: a real Postgres, a fake broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from common import knowledge_bases, reindexing, removals, shown
from common.chunking import Chunking
from common.document_filters import compile_filters
from common.errors import Retryable
from common.failpoints import Failpoints
from common.knowledge_bases import Present
from common.principal import Principal
from common.reindexing import Noted
from common.services import Services
from functions.schedule.reindex import reindex
from router.table import DOCUMENT_DELETE
from tests.integration.rig import Rig
from tests.integration.scene import Scene

pytestmark = pytest.mark.integration

ADMIN = Principal("admin", is_admin=True)
COLLECTION = "chunks_0000000a"


class House:
    """A rig whose documents are complete, and a scheduler's tick."""

    def __init__(self, rig: Rig, documents: int = 5) -> None:
        self.rig = rig
        self.dropped: list[str] = []
        self.others: list[str] = []
        index = SimpleNamespace(name=COLLECTION, others=lambda: self.others, drop=self.dropped.append)
        settings = rig.services.settings.model_copy(update={"reindex_documents": 2, "collection": "chunks"})
        self.services = cast(
            Services,
            SimpleNamespace(settings=settings, database=rig.database, index=index, failpoints=Failpoints("")),
        )
        for number in range(documents):
            rig.arrive(key=f"incoming/{number}.txt", sequencer=number + 1)
        self.work()

    def work(self) -> None:
        """What has begun ends."""
        self.rig.relay()
        self.rig.run_without_waiting()

    def tick(self) -> None:
        reindex(self.services, self.rig.pipeline)

    def mark(self, base: str = "default") -> None:
        with self.rig.database.transaction() as connection:
            assert reindexing.mark(connection, base) == 1

    def rows(self, statement: str) -> list[Any]:
        return Scene(self.rig).rows(statement)

    def versions(self) -> dict[str, list[str]]:
        """The states of each document's versions, in their order, by the end of its key."""
        found: dict[str, list[str]] = {}
        for key, status in self.rows(
            """
            SELECT object_key, status FROM documents AS document JOIN tasks ON document_id = document.id
            WHERE type = 'DOCUMENT_UPLOAD' ORDER BY object_key, version
            """
        ):
            found.setdefault(key.removeprefix("incoming/").removesuffix(".txt"), []).append(status)
        return found

    def view(self) -> Any:
        present = Present(Chunking(256, 32), 500, COLLECTION)
        with self.rig.database.transaction() as connection:
            return knowledge_bases.read_base(connection, ADMIN, "default", present)

    def shown(self) -> set[int]:
        """The versions that search shows."""
        with self.rig.database.transaction() as connection:
            ids = [row.id for row in connection.execute(text("SELECT id FROM documents"))]
            found = shown.showing(connection, ids, ["default"], compile_filters(None, {}))
        return {version for _, version in found}


@pytest.fixture
def house(rig: Rig) -> House:
    return House(rig)


DONE, RUNS = "COMPLETED", "RUNNING"


def test_each_document_is_processed_again_some_at_a_time_and_shows_what_it_did_until_then(house: House) -> None:
    house.tick()
    assert house.versions() == {str(number): [DONE] for number in range(5)}, "nobody has asked"
    house.mark()
    assert house.view()["remaining"] == 5
    house.tick()
    house.tick()
    assert house.versions() == {number: [DONE, RUNS] if number in "01" else [DONE] for number in "01234"}
    assert house.shown() == {1}
    house.work()
    assert house.shown() == {1, 2}
    assert house.view()["remaining"] == 3
    for _ in range(3):
        house.tick()
        house.work()
    assert house.versions() == {number: [DONE, DONE] for number in "01234"}
    assert (house.view()["remaining"], house.view()["reindex_before"]) == (None, None)
    house.tick()
    house.work()
    assert house.shown() == {2}
    assert house.rig.count("document_versions") == 10


def test_who_is_killed_in_the_midst_of_it_is_gone_on_from_by_another(house: House) -> None:
    house.mark()

    def killed(_point: str, _step: str) -> None:
        raise Retryable

    house.services.failpoints = cast(Any, SimpleNamespace(reach=killed))
    with pytest.raises(Retryable):
        house.tick()
    assert sum(len(states) for states in house.versions().values()) == 6, "what it began has begun"
    house.services.failpoints = Failpoints("")
    for _ in range(4):
        house.tick()
        house.work()
    assert house.versions() == {number: [DONE, DONE] for number in "01234"}
    assert house.view()["reindex_before"] is None


def test_what_failed_or_was_cancelled_is_tried_again_once_and_what_never_came_is_not(rig: Rig) -> None:
    house = House(rig, documents=2)
    rig.announce()
    rig.sql(
        "UPDATE tasks SET status = 'FAILED' WHERE document_id = (SELECT min(document_id) FROM tasks) AND version = 1"
    )
    house.mark()
    house.tick()
    house.work()
    states = sorted(states for key, states in house.versions().items() if len(key) == 1)
    assert [states[-1] for states in states] == [DONE, DONE]
    rig.sql("UPDATE tasks SET status = 'FAILED' WHERE version = 2")
    for _ in range(3):
        house.tick()
        house.work()
    assert rig.count("document_versions WHERE version = 3") == 0, "what fails again is not tried for ever"
    assert rig.count("document_versions WHERE etag IS NULL AND version > 1") == 0
    assert house.view()["reindex_before"] is None


def test_what_is_just_being_processed_may_end_before_it_begins_again(rig: Rig) -> None:
    house = House(rig, documents=1)
    rig.arrive(key="incoming/9.txt", sequencer=9)
    house.mark()
    house.tick()
    assert house.versions() == {"0": [DONE, RUNS], "9": [RUNS]}
    house.tick()
    assert house.view()["remaining"] == 2, "though there is nothing to begin just now"
    for _ in range(3):
        house.work()
        house.tick()
    assert house.versions() == {"0": [DONE, DONE], "9": [DONE, DONE]}
    assert house.view()["reindex_before"] is None


def test_who_asks_again_has_all_of_it_begun_anew(house: House) -> None:
    house.mark()
    house.tick()
    house.work()
    house.mark()
    assert house.view()["remaining"] == 5
    for _ in range(5):
        house.tick()
        house.work()
    assert {len(states) for states in house.versions().values()} == {2, 3}
    assert house.view()["reindex_before"] is None


def test_a_base_that_is_deleted_meanwhile_takes_its_documents_with_it(house: House) -> None:
    rig = house.rig
    rig.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES ('b', 'b', 'admin')")
    rig.sql("UPDATE documents SET knowledge_base_id = 'b'")
    house.mark("b")
    house.tick()
    with rig.database.transaction() as connection:
        knowledge_bases.delete(connection, "b")
        knowledge_bases.empty(connection, "b", DOCUMENT_DELETE, user_id="admin")
    house.tick()
    states = house.versions()
    assert [len(of) for of in states.values()] == [2, 2, 1, 1, 1]
    assert {of[1] for of in states.values() if len(of) == 2} == {"CANCELLED"}
    with rig.database.transaction() as connection:
        assert reindexing.marked(connection) == []


def test_a_document_that_is_deleted_between_two_looks_is_passed_over(house: House) -> None:
    house.mark()
    rig = house.rig
    with rig.database.transaction() as connection:
        first = reindexing.due(connection, "default", limit=1)[0]
        removals.begin(connection, [first], DOCUMENT_DELETE, user_id="admin", asked=True)
    with rig.database.transaction() as connection:
        assert not reindexing.is_due(connection, first)
    house.tick()
    assert house.versions()["0"] == [DONE]


def note(house: House, *, store: str, version: int, split: str = "{}") -> None:
    """What STORE and SPLIT noted of this version of all documents."""
    house.rig.sql(
        f"""
        UPDATE task_details AS step SET details = details || CASE WHEN step_name = 'STORE'
            THEN jsonb_build_object('collection', '{store}', 'vectors', 3) ELSE '{split}' ::jsonb END
        FROM tasks AS task WHERE task.id = step.task_id AND task.version = {version} AND step_name IN ('STORE', 'SPLIT')
        """
    )


def test_a_base_tells_how_many_documents_have_chunks_of_other_options_or_another_model(house: House) -> None:
    now = '{"chunking": {"size": 256, "overlap": 32, "by": "heading"}}'
    note(house, store=COLLECTION, version=1, split=now)
    assert (house.view()["stale"], house.view()["chunk_count"]) == (0, 15)
    house.rig.sql("UPDATE knowledge_bases SET chunk_size = 256, chunk_overlap = 32 WHERE id = 'default'")
    assert house.view()["stale"] == 0, "the same, said by the base itself"
    house.rig.sql("UPDATE knowledge_bases SET chunk_by = 'page' WHERE id = 'default'")
    assert house.view()["stale"] == 5
    house.rig.sql("UPDATE knowledge_bases SET chunk_by = NULL WHERE id = 'default'")
    note(house, store="chunks_0000000b", version=1)
    assert house.view()["stale"] == 5


def test_a_collection_goes_when_no_version_that_shows_is_in_it_and_never_before(house: House) -> None:
    rig = house.rig
    house.others = ["chunks", "chunks_0000000b"]
    with rig.database.transaction() as connection:
        reindexing.note(connection, Noted("chunks_0000000b", "old", "old"))
    house.tick()
    assert house.dropped == [], "who has an older model than `brigade migrate` noted last touches nothing"
    assert rig.count("tasks WHERE version > 1") == 0
    with rig.database.transaction() as connection:
        reindexing.note(connection, Noted(COLLECTION, "new", "new"))
        reindexing.mark(connection)
    note(house, store="chunks_0000000b", version=1)
    for _ in range(3):
        house.tick()
        house.work()
        note(house, store=COLLECTION, version=2)
        assert house.dropped == []
    house.tick()
    assert set(house.dropped) == {"chunks", "chunks_0000000b"}


def test_what_a_worker_with_the_old_model_completed_meanwhile_is_processed_again(house: House) -> None:
    with house.rig.database.transaction() as connection:
        reindexing.note(connection, Noted(COLLECTION, "new", "new"))
    note(house, store=COLLECTION, version=1)
    house.rig.sql(
        """
        UPDATE task_details SET details = details - 'collection' WHERE step_name = 'STORE' AND task_id IN (
            SELECT task_id FROM document_versions WHERE document_id IN (
                SELECT id FROM documents WHERE object_key = 'incoming/3.txt'))
        """
    )
    house.others = ["chunks"]
    house.tick()
    house.tick()
    assert house.versions() == {number: [DONE, RUNS] if number == "3" else [DONE] for number in "01234"}
    assert house.dropped == []
    house.rig.sql("UPDATE tasks SET status = 'FAILED', completed_at = now() WHERE version = 2")
    house.tick()
    assert house.versions()["3"] == [DONE, "FAILED"], "what fails is not tried for ever"
    assert house.dropped == [], "it shows what it did, which is there"
