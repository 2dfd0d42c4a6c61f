"""Where what other systems drop goes: on both roads, one at a time and many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common import arrivals, bindings, documents, knowledge_bases, uploads
from common.errors import BrigadeError, Conflict, Forbidden, NotFound, Refused
from common.events import ObjectCreated
from common.principal import Principal
from common.steps import StepRef
from functions.http.bindings import WATCHED
from router.table import DOCUMENT_DELETE, watches
from tests.integration.rig import Rig
from tests.integration.scene import Scene

pytestmark = pytest.mark.integration

Road = Callable[[Rig, str], StepRef]


def one_by_one(rig: Rig, key: str) -> StepRef:
    with rig.database.transaction() as connection:
        (ready,) = documents.arrive(connection, event(key), rig.pipeline, DOCUMENT_DELETE)
    return ready


def all_at_once(rig: Rig, key: str) -> StepRef:
    others = [event(f"incoming/elsewhere/{number}.txt") for number in range(2)]
    with rig.database.transaction() as connection:
        begun = arrivals.drop(connection, [others[0], event(key), others[1]], rig.pipeline)
    return begun[1]


def event(key: str, bucket: str = "brigade") -> ObjectCreated:
    return ObjectCreated(bucket, key, f"{1:032X}", etag="e", size=5)


@pytest.fixture(params=[one_by_one, all_at_once])
def road(request: pytest.FixtureRequest) -> Road:
    found: Road = request.param
    return found


@pytest.fixture
def people(rig: Rig) -> Rig:
    """Ann, her bases `a` and `b`, of which Bob edits the first and reads the second."""
    rig.sql("INSERT INTO users (id, username) VALUES ('ann', 'ann'), ('bob', 'bob')")
    rig.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES ('a', 'A', 'ann'), ('b', 'B', 'ann')")
    rig.sql("INSERT INTO knowledge_base_members VALUES ('a', 'bob', 'editor'), ('b', 'bob', 'reader')")
    return rig


def bind(rig: Rig, prefix: str, base: str, owner: str | None = None, bucket: str = "brigade") -> Any:
    with rig.database.transaction() as connection:
        return bindings.bind(connection, bucket=bucket, prefix=prefix, base_id=base, owner=owner, watched=WATCHED)


def whose(rig: Rig, ready: StepRef) -> tuple[Any, ...]:
    """The base and the owner of the task's document, and the lanes of its steps: they must be the base."""
    (row,) = Scene(rig).rows(
        f"""
        SELECT document.knowledge_base_id, document.user_id, task.knowledge_base_id, task.created_by
        FROM tasks AS task JOIN documents AS document ON document.id = task.document_id
        WHERE task.id = '{ready.task_id}'
        """
    )
    lanes = Scene(rig).rows(f"SELECT DISTINCT lane FROM task_details WHERE task_id = '{ready.task_id}'")
    assert row[:2] == row[2:]
    assert lanes == [(row[0],)]
    assert ready.lane == row[0]
    return tuple(row[:2])


def test_a_drop_goes_where_the_longest_prefix_says(people: Rig, road: Road) -> None:
    bind(people, "incoming/in_voices/", "a", "bob")
    bind(people, "incoming/in_voices/old/", "b")
    bind(people, "incoming/in_voices/", "b", bucket="another")
    assert whose(people, road(people, "incoming/in_voices/1.txt")) == ("a", "bob")
    assert whose(people, road(people, "incoming/in_voices/old/猫.txt")) == ("b", "ann")
    assert whose(people, road(people, "incoming/inXvoices/1.txt")) == ("default", "admin"), "a prefix is no pattern"
    assert whose(people, road(people, "incoming/in_voices")) == ("default", "admin")


def test_a_base_that_was_deleted_is_passed_over(people: Rig, road: Road) -> None:
    bind(people, "incoming/x/", "a")
    bind(people, "incoming/x/y/", "b")
    with people.database.transaction() as connection:
        knowledge_bases.delete(connection, "b")
    assert whose(people, road(people, "incoming/x/y/1.txt")) == ("a", "ann")
    with people.database.transaction() as connection:
        knowledge_bases.delete(connection, "a")
    assert whose(people, road(people, "incoming/x/y/2.txt")) == ("default", "admin")


def test_what_an_archive_held_goes_where_the_archive_is(people: Rig, road: Road) -> None:
    bind(people, "incoming/", "a")
    parent = road(people, "incoming/all.zip")
    ((parent_id,),) = Scene(people).rows(f"SELECT document_id FROM tasks WHERE id = '{parent.task_id}'")
    bind(people, f"incoming/{parent_id}.parts/", "b")
    member = road(people, f"incoming/{parent_id}.parts/1.txt")
    assert whose(people, member) == ("a", "ann")


def test_what_was_announced_goes_where_it_was_announced_for_though_its_document_is_gone(people: Rig) -> None:
    with people.database.transaction() as connection:
        announced = uploads.announce(
            connection,
            people.pipeline,
            caller=Principal("ann", is_admin=False),
            bucket="brigade",
            filename="a.txt",
            size=5,
            content_type="text/plain",
            metadata={},
            knowledge_base_id="b",
            expires_seconds=60,
        )
    bind(people, "incoming/", "a")
    ((key,),) = Scene(people).rows("SELECT object_key FROM documents")
    people.sql(f"DELETE FROM documents WHERE id = '{announced.document_id}'")
    with people.database.transaction() as connection:
        assert arrivals.drop(connection, [event(key)], people.pipeline) == {}
    assert whose(people, one_by_one(people, key)) == ("b", "ann")


@pytest.mark.parametrize(
    ("changed", "error", "code"),
    [
        ({"prefix": "elsewhere/"}, Refused, "PREFIX_NOT_WATCHED"),
        ({"prefix": "incoming"}, Refused, "PREFIX_NOT_WATCHED"),
        ({"prefix": "incoming/" + "猫" * 400}, Refused, "INVALID_PREFIX"),
        ({"prefix": "incoming/\x00"}, Refused, "INVALID_PREFIX"),
        ({"bucket": "No Bucket"}, Refused, "INVALID_BUCKET"),
        ({"owner": "bob"}, Forbidden, "FORBIDDEN"),
        ({"owner": "nobody"}, NotFound, "NOT_FOUND"),
        ({"prefix": "incoming/taken/"}, Conflict, "PREFIX_TAKEN"),
    ],
)
def test_what_cannot_be_bound_is_refused_in_a_sentence(
    people: Rig, changed: dict[str, str], error: type[BrigadeError], code: str
) -> None:
    bind(people, "incoming/taken/", "a")
    with pytest.raises(error) as caught:
        bind(people, **{"prefix": "incoming/x/", "base": "b", **changed})
    assert caught.value.code == code
    assert people.count("bindings") == 1


def test_an_admin_may_be_the_owner_in_any_base(people: Rig, road: Road) -> None:
    assert bind(people, "incoming/x/", "b", "admin")["username"] == "admin"
    assert whose(people, road(people, "incoming/x/1.txt")) == ("b", "admin")


def test_the_prefixes_that_may_be_bound_are_those_of_the_routes() -> None:
    assert {watch.prefix for watch in watches()} == set(WATCHED)
