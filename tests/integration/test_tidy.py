"""What ended tasks left behind is cleared away, also where some of it is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from common import task_requests, tidying
from common.context import Context
from common.errors import Conflict, Rejected, Unavailable
from common.services import Services
from functions.schedule.tidy import clear, tidy, trim
from tests.integration.rig import Rig
from tests.integration.system import wait_for

pytestmark = pytest.mark.integration


class Leftovers:
    """Index and store, of which one or all documents' rows are refused."""

    def __init__(self, rig: Rig, refused: Collection[str]) -> None:
        self.refused = refused
        self.cleared: list[str] = []
        self.kept: set[str] = set()
        self.before: Callable[[], None] = lambda: None
        self.asked = 0
        self.services = cast(
            "Services",
            SimpleNamespace(settings=rig.services.settings, database=rig.database, index=self, objects=self),
        )

    def delete_versions(self, document_id: str, _versions: Any) -> None:
        self.asked += 1
        if document_id in self.refused:
            raise Unavailable("Milvus refuses", server="milvus")

    def delete_prefix(self, prefix: str, *, keep: Collection[str] = ()) -> None:
        self.before()
        self.cleared.append(prefix)
        self.kept |= set(keep)


def cancelled(rig: Rig, count: int) -> None:
    """So many cancelled tasks, of documents d1, d2, …"""
    rig.sql(f"""
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by, status, completed_at)
        SELECT 't' || n, 'DOCUMENT_UPLOAD', 'd' || n, 1, 'default', 'admin', 'CANCELLED', now() - interval '1 hour'
        FROM generate_series(1, {count}) AS n
    """)
    rig.sql(
        "INSERT INTO task_details (task_id, step_order, step_name, ready_at) SELECT id, 1, 'SPLIT', now() FROM tasks"
    )


def test_what_is_refused_is_put_off_and_holds_up_nothing_else(rig: Rig) -> None:
    cancelled(rig, 9)
    left = Leftovers(rig, ["d1"])
    tidy(left.services)
    assert sorted(left.cleared) == [f"artifacts/t{number}/" for number in range(2, 10)]
    left.refused = []
    tidy(left.services)
    assert left.cleared[8:] == ["artifacts/t1/"]
    tidy(left.services)
    assert len(left.cleared) == 9


def test_a_server_that_is_away_is_not_asked_for_each(rig: Rig) -> None:
    cancelled(rig, 9)
    left = Leftovers(rig, [f"d{number}" for number in range(1, 10)])
    with pytest.raises(Unavailable):
        tidy(left.services)
    assert left.asked == 3


def rows_of(rig: Rig, task_id: str) -> list[tuple[str, bool]]:
    """The steps of the task, and whether their rows still have what they made."""
    with rig.database.transaction() as connection:
        found = connection.execute(
            text("""
                SELECT step_name, output IS NOT NULL OR output_key IS NOT NULL FROM task_details
                WHERE task_id = :task ORDER BY step_order, batch
            """),
            {"task": task_id},
        )
        return [(name, kept) for name, kept in found]


def completed(rig: Rig, **options: Any) -> str:
    task_id = rig.arrive(**options)
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    return task_id


def failed(rig: Rig) -> str:
    def fail(_: Context) -> None:
        raise Rejected("no", code="NO")

    rig.before["STORE"] = fail
    task_id = rig.arrive()
    rig.run()
    assert rig.task(task_id)["status"] == "FAILED"
    del rig.before["STORE"]
    return task_id


def with_settings(rig: Rig, left: Leftovers, **settings: float) -> Services:
    left.services.settings = rig.services.settings.model_copy(update=settings)
    return left.services


def test_of_a_completed_task_only_what_is_read_is_kept(rig: Rig) -> None:
    task_id = completed(rig)
    rig.sql("UPDATE task_details SET output_key = 'artifacts/x/EXTRACT_TEXT', output = NULL WHERE step_order = 2")
    left = Leftovers(rig, [])
    trim(with_settings(rig, left, trim_seconds=60))
    assert left.cleared == [], "its time has not come"
    trim(with_settings(rig, left, trim_seconds=0))
    assert left.cleared == [f"artifacts/{task_id}/"]
    assert left.kept == {"artifacts/x/EXTRACT_TEXT"}
    kept = {name for name, there in rows_of(rig, task_id) if there}
    assert kept == {"EXTRACT_TEXT"}, "not the vectors"
    trim(left.services)
    assert len(left.cleared) == 1, "once is enough"


def test_the_only_copy_of_what_shows_is_kept_while_a_newer_version_is_made(rig: Rig) -> None:
    task_id = completed(rig)
    rig.arrive(sequencer=2, etag="e2")
    left = Leftovers(rig, [])
    trim(with_settings(rig, left, trim_seconds=0))
    assert left.cleared == []
    rig.run()
    trim(left.services)
    assert task_id not in left.cleared[0]


def test_a_failed_task_can_be_retried_until_its_time_is_over(rig: Rig) -> None:
    task_id = failed(rig)
    left = Leftovers(rig, [])
    tidy(with_settings(rig, left, lease_seconds=0, keep_failed_seconds=60))
    assert left.cleared == []
    tidy(with_settings(rig, left, lease_seconds=0, keep_failed_seconds=0))
    assert left.cleared == [f"artifacts/{task_id}/"]
    assert not any(there for _, there in rows_of(rig, task_id))
    with pytest.raises(Conflict) as refused, rig.database.transaction() as connection:
        task_requests.retry(connection, task_id)
    assert refused.value.code == "ARTIFACTS_GONE"


def test_a_failed_task_that_is_retried_in_time_goes_on_from_what_it_had(rig: Rig) -> None:
    task_id = failed(rig)
    left = Leftovers(rig, [])
    tidy(with_settings(rig, left, lease_seconds=0, keep_failed_seconds=60))
    trim(with_settings(rig, left, trim_seconds=0))
    with rig.database.transaction() as connection:
        due = rig.outbox.admit(connection, task_requests.retry(connection, task_id))
    rig.outbox.send(due)
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert rig.names().count("EXTRACT_TEXT") == 1


def test_a_retry_that_comes_first_is_not_cleared_away(rig: Rig) -> None:
    task_id = failed(rig)
    left = Leftovers(rig, [])
    services = with_settings(rig, left, lease_seconds=0, keep_failed_seconds=0)
    with rig.database.transaction() as connection:
        task_requests.retry(connection, task_id)
        clear(services, task_id)  # finds it in other hands
    clear(services, task_id)  # finds it at work
    assert left.cleared == []


def test_a_retry_that_comes_while_it_is_cleared_is_refused(rig: Rig) -> None:
    task_id = failed(rig)
    left = Leftovers(rig, [])
    services = with_settings(rig, left, lease_seconds=0, keep_failed_seconds=0)
    with ThreadPoolExecutor(1) as pool:

        def retry() -> None:
            with rig.database.transaction() as connection:
                task_requests.retry(connection, task_id)

        def meanwhile() -> None:
            futures.append(pool.submit(retry))
            wait_for(
                lambda: rig.count("pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"),
                "it waits",
            )

        futures: list[Any] = []
        left.before = meanwhile
        clear(services, task_id)
        with pytest.raises(Conflict) as refused:
            futures[0].result(30)
    assert refused.value.code == "ARTIFACTS_GONE"


@pytest.mark.parametrize("error", [Rejected("Cannot be."), Unavailable("Away.")])
def test_what_a_run_wrote_that_failed_after_the_clearing_is_cleared_too(rig: Rig, error: Exception) -> None:
    task_id = rig.arrive()

    def cancelled_and_cleared(_: object) -> None:
        rig.sql("UPDATE task_details SET status = 'CANCELLED', owner = NULL WHERE status = 'RUNNING'")
        rig.sql("UPDATE tasks SET status = 'CANCELLED', completed_at = now(), tidied_at = now()")
        raise error

    rig.before["EXTRACT_TEXT"] = cancelled_and_cleared
    rig.run_without_waiting()
    assert rig.count(f"tasks WHERE id = '{task_id}' AND tidied_at IS NULL") == 1


def test_what_a_run_without_its_lease_wrote_after_the_clearing_is_cleared_too(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.sql("UPDATE tasks SET status = 'CANCELLED', completed_at = now() - interval '1 hour'")
    left = Leftovers(rig, [])
    with ThreadPoolExecutor(1) as pool:

        def late() -> None:
            with rig.database.transaction() as connection:
                tidying.untidy(connection, task_id)

        def meanwhile() -> None:
            futures.append(pool.submit(late))
            wait_for(
                lambda: rig.count("pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"),
                "it waits",
            )

        futures: list[Any] = []
        left.before = meanwhile
        tidy(left.services)
        futures[0].result(30)
    left.before = lambda: None
    tidy(left.services)
    tidy(left.services)
    assert left.cleared == [f"artifacts/{task_id}/"] * 2


def test_a_task_none_of_whose_steps_could_begin_leaves_nothing_to_ask_a_server_for(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.sql("UPDATE tasks SET status = 'CANCELLED', completed_at = now() - interval '1 hour'")
    rig.sql("UPDATE task_details SET ready_at = NULL")
    left = Leftovers(rig, [f"d{task_id}"])
    tidy(left.services)
    assert (left.asked, left.cleared) == (0, [])
    assert rig.count("tasks WHERE tidied_at IS NOT NULL") == 1
