"""Lists and statistics of tasks, against rows that are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from common.http import Call
from common.principal import Principal
from common.task_stats import TaskStats
from functions.http.task_stats import StatsQuery, read_stats
from functions.http.tasks import TaskPage, TaskQuery, list_tasks
from router.message import decode
from tests.integration.rig import Rig

ADMIN = Principal("admin", is_admin=True)
ANNA, BEN = Principal("anna", is_admin=False), Principal("ben", is_admin=False)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def people(rig: Rig) -> Rig:
    """Anna has a base, and reads Ben's; Ben had another, which is deleted."""
    rig.sql("INSERT INTO users (id, username) VALUES ('anna', 'anna'), ('ben', 'ben')")
    rig.sql("""
        INSERT INTO knowledge_bases (id, name, owner_id, deleted_at)
        VALUES ('annas', 'a', 'anna', NULL), ('bens', 'b', 'ben', NULL), ('gone', 'g', 'ben', now())
    """)
    rig.sql("INSERT INTO knowledge_base_members VALUES ('bens', 'anna', 'reader')")
    return rig


def task(rig: Rig, task_id: str, **values: Any) -> None:
    row = {
        "id": task_id,
        "type": "DOCUMENT_UPLOAD",
        "document_id": f"document-{task_id}",
        "version": 1,
        "knowledge_base_id": "default",
        "created_by": "admin",
        "status": "PENDING",
        "created_at": NOON,
        "completed_at": None,
        "error_code": None,
        "error_message": None,
    } | values
    with rig.database.transaction() as connection:
        columns = ", ".join(row)
        connection.execute(text(f"INSERT INTO tasks ({columns}) VALUES ({', '.join(f':{name}' for name in row)})"), row)


def call(rig: Rig, caller: Principal) -> Call:
    return Call(rig.services, {rig.pipeline.name: rig.pipeline}, caller)


def listed(rig: Rig, caller: Principal = ADMIN, **query: Any) -> TaskPage:
    return list_tasks(call(rig, caller), TaskQuery(**query))


def ids(rig: Rig, caller: Principal = ADMIN, **query: Any) -> list[str]:
    return [one.task_id for one in listed(rig, caller, **query).items]


def test_everybody_is_shown_the_tasks_of_their_bases_deleted_ones_too(people: Rig) -> None:
    for base in ("default", "annas", "bens", "gone"):
        task(people, base, knowledge_base_id=base)
    assert ids(people) == ["gone", "default", "bens", "annas"]
    assert ids(people, ANNA) == ["bens", "annas"]
    assert ids(people, BEN) == ["gone", "bens"]
    assert ids(people, ANNA, knowledge_base_id="default") == []
    assert ids(people, Principal("nobody", is_admin=False)) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["c", "b", "a"]),
        ({"status": "RUNNING"}, ["b"]),
        ({"status": "RUNNING,FAILED"}, ["c", "b"]),
        ({"type": "DOCUMENT_DELETE"}, ["c"]),
        ({"document_id": "document-a"}, ["a"]),
        ({"knowledge_base_id": "annas"}, ["b"]),
        ({"created_by": "anna"}, ["b"]),
        ({"created_after": NOON + timedelta(hours=1)}, ["c", "b"]),
        ({"created_before": NOON + timedelta(hours=1)}, ["a"]),
        ({"status": "FAILED", "created_by": "anna"}, []),
    ],
)
def test_each_filter_narrows(people: Rig, query: dict[str, Any], found: list[str]) -> None:
    task(people, "a")
    task(
        people,
        "b",
        status="RUNNING",
        knowledge_base_id="annas",
        created_by="anna",
        created_at=NOON + timedelta(hours=1),
    )
    task(people, "c", status="FAILED", type="DOCUMENT_DELETE", created_at=NOON + timedelta(hours=2))
    assert ids(people, **query) == found


def test_pages_stay_right_while_tasks_are_made(rig: Rig) -> None:
    for number in range(5):
        task(rig, f"old-{number}")  # all of one moment
    first = listed(rig, limit=2)
    task(rig, "new", created_at=NOON + timedelta(seconds=1))
    second = listed(rig, limit=2, cursor=first.next_cursor)
    third = listed(rig, limit=2, cursor=second.next_cursor)
    pages = [[one.task_id for one in page.items] for page in (first, second, third)]
    assert pages == [["old-4", "old-3"], ["old-2", "old-1"], ["old-0"]]
    assert third.next_cursor is None


def test_items_are_whole_tasks(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.run()
    (item,) = listed(rig).items
    assert msgspec.to_builtins(item, builtin_types=(datetime,)) == rig.task(task_id)
    assert [step.status for step in item.task_details] == ["COMPLETED"] * 5


def stats(rig: Rig, caller: Principal = ADMIN, hours: float = 10) -> TaskStats:
    return read_stats(call(rig, caller), StatsQuery(hours=hours))


def ended(rig: Rig, task_id: str, status: str = "COMPLETED", hours_ago: float = 1, **values: Any) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    task(rig, task_id, status=status, created_at=at, completed_at=at, **values)


def test_statistics_count_what_began_or_ended_in_time_or_goes_on(rig: Rig) -> None:
    ended(rig, "a")
    ended(rig, "b", status="FAILED", error_code="NO_TEXT", error_message="x")
    ended(rig, "c", type="DOCUMENT_DELETE")
    ended(rig, "long ago", hours_ago=11)
    task(rig, "still open")
    found = stats(rig)
    assert found.total == 4
    assert found.by_status == {"COMPLETED": 2, "FAILED": 1, "PENDING": 1}
    assert found.by_type == {
        "DOCUMENT_DELETE": {"COMPLETED": 1},
        "DOCUMENT_UPLOAD": {"COMPLETED": 1, "FAILED": 1, "PENDING": 1},
    }


def test_throughput_is_of_uploads_that_were_completed(rig: Rig) -> None:
    for number, size in enumerate((1000, 3000)):
        rig.arrive(number + 1, key=f"incoming/{number}.txt")
        rig.sql(f"UPDATE document_versions SET file_size = {size} WHERE file_size = 5")
    rig.run()
    rig.arrive(9, key="incoming/not-done.txt")
    done = stats(rig).throughput
    assert (done.documents, done.bytes, done.documents_per_hour, done.bytes_per_hour) == (2, 4000, 0.2, 400)


def test_durations_are_the_percentiles_of_the_steps(rig: Rig) -> None:
    for number in range(1, 12):
        rig.arrive(number, key=f"incoming/{number}.txt")
    rig.run()
    rig.sql("""
        UPDATE task_details SET started_at = completed_at - number * interval '1 second'
        FROM (SELECT id, row_number() OVER () AS number FROM tasks) AS task
        WHERE task.id = task_id AND step_name = 'SPLIT'
    """)
    steps = {step.step_name: step for step in stats(rig).steps}
    assert list(steps) == ["UPLOAD", "EXTRACT_TEXT", "SPLIT", "VECTORIZE", "STORE"]
    assert (steps["SPLIT"].completed, steps["SPLIT"].p50_seconds, steps["SPLIT"].p95_seconds) == (11, 6.0, 10.5)


def test_queues_are_told_for_each_step(rig: Rig) -> None:
    for number in range(1, 5):
        rig.arrive(number, key=f"incoming/{number}.txt")
    queue = rig.broker.queues["brigade.step.extract_text"]
    rig.runtime.handle(queue.popleft())  # its SPLIT is queued now
    running, put_off = (decode(delivery.body).task_id for delivery in (queue[0], queue[1]))
    rig.sql(f"UPDATE task_details SET status = 'RUNNING', owner = 'me' WHERE (task_id, step_order) = ('{running}', 2)")
    later = "SET not_before = now() + interval '1 minute'"
    rig.sql(f"UPDATE task_details {later} WHERE (task_id, step_order) = ('{put_off}', 2)")
    found = {step.step_name: (step.queued, step.put_off, step.running) for step in stats(rig).steps}
    assert found["EXTRACT_TEXT"] == (1, 1, 1)
    assert found["SPLIT"] == (1, 0, 0)
    assert found["STORE"] == (0, 0, 0)


def test_reasons_of_failures_come_with_the_latest_message(rig: Rig) -> None:
    for number in range(3):
        ended(rig, f"a{number}", "FAILED", 3 - number, error_code="NO_TEXT", error_message=f"message {number}")
    ended(rig, "b", "FAILED", error_code="EMPTY_FILE", error_message="empty")
    ended(rig, "c", "CANCELLED", error_code="CANCELLED", error_message="no failure")
    found = [(one.code, one.count, one.message) for one in stats(rig).failures]
    assert found == [("NO_TEXT", 3, "message 2"), ("EMPTY_FILE", 1, "empty")]


def test_statistics_are_of_what_the_caller_may_see(people: Rig) -> None:
    for base in ("default", "annas", "bens", "gone"):
        ended(people, base, "FAILED", knowledge_base_id=base, error_code=base, error_message="")
    assert stats(people).total == 4
    anna = stats(people, ANNA)
    assert anna.by_status == {"FAILED": 2}
    assert [one.code for one in anna.failures] == ["annas", "bens"]
    nobody = stats(people, Principal("nobody", is_admin=False))
    assert (nobody.total, nobody.failures) == (0, [])
