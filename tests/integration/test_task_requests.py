"""What people ask of tasks, by the endpoints' functions on a real Postgres: cancel one, try a failed one again."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from common import documents, open_uploads, removals, steps
from common.context import Context
from common.errors import Conflict, Rejected, Retryable, Unavailable
from common.events import ObjectCreated
from common.http import Call
from common.principal import Principal
from common.steps import Claim, StepRef
from functions.http.tasks import cancel_task, retry_task
from router import letters
from router.table import DOCUMENT_DELETE
from tests.integration.rig import Rig

ADMIN = Principal("admin", is_admin=True)
NO_TEXT = Rejected("There is no text in it.", code="NO_TEXT")


def call(rig: Rig, task_id: str) -> Call:
    return Call(rig.services, {rig.pipeline.name: rig.pipeline}, ADMIN, {"task_id": task_id})


def cancel(rig: Rig, task_id: str) -> str:
    return cancel_task(call(rig, task_id)).status


def retry(rig: Rig, task_id: str) -> str:
    return retry_task(call(rig, task_id)).status


def refusal(ask: Any, rig: Rig, task_id: str) -> str:
    with pytest.raises(Conflict) as caught:
        ask(rig, task_id)
    return caught.value.code


def rows(rig: Rig, statement: str, **values: Any) -> list[Any]:
    with rig.database.transaction() as connection:
        return list(connection.execute(text(statement), values).all())


def fails(rig: Rig, step: str, error: Exception = NO_TEXT) -> str:
    """A task that failed in this step; the step is mended then."""

    def fail(_: Context) -> None:
        raise error

    task_id = rig.arrive()
    rig.before[step] = fail
    rig.run_without_waiting()
    assert rig.task(task_id)["status"] == "FAILED"
    rig.before.clear()
    rig.calls.clear()
    return task_id


def test_a_task_that_is_cancelled_in_the_queue_never_runs(rig: Rig) -> None:
    task_id = rig.arrive()
    assert cancel(rig, task_id) == "CANCELLED"
    rig.run()
    assert rig.calls == []
    assert rig.steps(task_id) == ["COMPLETED", *["CANCELLED"] * 4]
    assert rig.task(task_id)["error_code"] == "CANCELLED"


def test_cancelling_twice_is_the_same_and_both_are_in_the_audit_log(rig: Rig) -> None:
    task_id = rig.arrive()
    assert [cancel(rig, task_id), cancel(rig, task_id)] == ["CANCELLED", "CANCELLED"]
    entries = rows(rig, "SELECT user_id, action FROM audit_log WHERE subject = :task", task=task_id)
    assert entries == [("admin", "task.cancel")] * 2


def test_two_cancels_at_once_are_one(rig: Rig) -> None:
    task_id = rig.arrive()
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: cancel(rig, task_id), range(2))) == ["CANCELLED", "CANCELLED"]


def test_a_task_that_has_ended_cannot_be_cancelled(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.run()
    assert refusal(cancel, rig, task_id) == "TASK_ENDED"
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_a_failed_task_cannot_be_cancelled(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    assert refusal(cancel, rig, task_id) == "TASK_ENDED"
    assert rig.task(task_id)["error_code"] == "NO_TEXT"


def removal(rig: Rig) -> str:
    rig.arrive()
    rig.run()
    ((document_id,),) = rows(rig, "SELECT id FROM documents")
    with rig.database.transaction() as connection:
        (ref,) = removals.begin(connection, [document_id], DOCUMENT_DELETE, user_id="admin", asked=False)
    return ref.task_id


def test_a_deletion_cannot_be_cancelled(rig: Rig) -> None:
    task_id = removal(rig)
    assert refusal(cancel, rig, task_id) == "NOT_CANCELLABLE"
    assert rig.task(task_id)["status"] == "RUNNING"


def test_what_arrives_for_a_cancelled_announcement_changes_nothing(rig: Rig) -> None:
    upload = rig.announce(60)
    cancel(rig, upload.task_id)
    with rig.database.transaction() as connection:
        event = ObjectCreated("b", upload.key, f"{1:032X}", etag="e1", size=5)
        assert documents.arrive(connection, event, rig.pipeline, DOCUMENT_DELETE) == []
    rig.run()
    assert rig.calls == []
    assert rig.steps(upload.task_id) == ["CANCELLED"] * 5


def test_a_retry_resumes_at_the_step_that_failed_and_runs_no_earlier_one_again(rig: Rig) -> None:
    task_id = fails(rig, "STORE")
    assert retry(rig, task_id) == "RUNNING"
    assert rig.task(task_id)["error_message"] is None
    assert rig.relay() == 1
    rig.run()
    task = rig.task(task_id)
    assert (task["status"], task["overall_progress"]) == ("COMPLETED", 100)
    assert rig.calls == [("STORE", ["ONE", "TWO", "THREE", "FOUR", "FIVE"])]
    assert task["task_details"][-1]["attempt"] == 1
    ((action,),) = rows(rig, "SELECT action FROM audit_log WHERE subject = :task", task=task_id)
    assert action == "task.retry"


def test_a_retry_is_sent_at_once_and_only_once(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    asked = dataclasses.replace(call(rig, task_id), send=rig.outbox.send_now)
    retry_task(asked)
    assert rig.relay() == 0
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_a_retry_while_rabbitmq_is_away_is_sent_by_the_relay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = fails(rig, "SPLIT")

    def refuse(_: Any) -> None:
        raise Unavailable("RabbitMQ is away", server="rabbitmq")

    with monkeypatch.context() as away:
        away.setattr(rig.broker, "publish", refuse)
        retry_task(dataclasses.replace(call(rig, task_id), send=rig.outbox.send_now))
    assert rig.relay() == 1


def test_progress_does_not_go_back_with_a_retry(rig: Rig) -> None:
    task_id = fails(rig, "STORE")
    before = rig.task(task_id)["overall_progress"]
    retry(rig, task_id)
    assert rig.task(task_id)["overall_progress"] >= before > 0


def test_a_retry_runs_only_the_batches_that_were_not_done(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["VECTORIZE"] = lambda _: _raise(NO_TEXT) if rig.calls[-1][1] == ["three", "four"] else None
    rig.run()
    assert rig.task(task_id)["status"] == "FAILED"
    done = [given for name, given in rig.calls if name == "VECTORIZE" and given != ["three", "four"]]
    rig.before.clear()
    rig.calls.clear()
    retry(rig, task_id)
    assert rig.relay() == 3 - len(done)
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    again = [given for name, given in rig.calls if name == "VECTORIZE"]
    assert sorted(done + again) == [["five"], ["one", "two"], ["three", "four"]]
    assert rig.calls[-1] == ("STORE", ["ONE", "TWO", "THREE", "FOUR", "FIVE"])


def test_what_is_left_of_a_failed_step_is_not_sent_for_ever(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["VECTORIZE"] = partial(_raise, NO_TEXT)
    rig.run()
    batches = "SELECT status, count(*) FROM task_details WHERE task_id = :task AND batch > 0 GROUP BY 1 ORDER BY 1"
    states = rows(rig, batches, task=task_id)
    assert states == [("CANCELLED", 2), ("FAILED", 1)]
    assert rig.outbox.relay(unsent_seconds=0, vanished_seconds=60, lost_seconds=0) == 0


def test_a_second_retry_is_refused_while_the_first_one_runs(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    assert retry(rig, task_id) == "RUNNING"
    assert refusal(retry, rig, task_id) == "NOT_FAILED"


def test_of_retries_at_once_one_is_granted(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")

    def ask(_: int) -> str:
        try:
            return retry(rig, task_id)
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(ask, range(4))) == ["NOT_FAILED"] * 3 + ["RUNNING"]


def test_a_task_may_fail_and_be_tried_again_any_number_of_times(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    rig.before["SPLIT"] = partial(_raise, NO_TEXT)
    retry(rig, task_id)
    rig.relay()
    rig.run()
    assert rig.task(task_id)["status"] == "FAILED"
    rig.before.clear()
    retry(rig, task_id)
    rig.relay()
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_all_attempts_are_there_again_and_the_old_dead_letter_does_no_harm(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT", Retryable("Not now."))
    (letter,) = rig.letters()
    retry(rig, task_id)
    rig.relay()
    with rig.database.transaction() as connection:
        body = connection.execute(text("SELECT body FROM dead_letters")).scalar_one()
    letters.put_back(rig.broker, letter.queue, bytes(body))
    rig.before["SPLIT"] = lambda _: _raise(Retryable("Not now.")) if rig.names().count("SPLIT") < 5 else None
    rig.run_without_waiting()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert rig.task(task_id)["task_details"][2]["attempt"] == 5
    assert rig.names().count("STORE") == 1


def test_a_run_from_before_the_failure_writes_nothing_into_the_retry(rig: Rig) -> None:
    task_id = rig.arrive()
    for queue in ("brigade.step.extract_text", "brigade.step.split"):
        rig.runtime.handle(rig.broker.queues[queue].popleft())
    with rig.database.transaction() as connection:
        old, other = (
            steps.claim(connection, StepRef(task_id, 4, "VECTORIZE", batch), owner=f"old/{batch}", lease_seconds=60)
            for batch in (1, 2)
        )
        assert isinstance(old, Claim)
        assert isinstance(other, Claim)
        steps.fail(connection, other, code="NO_TEXT", message="", details={})
    retry(rig, task_id)
    with rig.database.transaction() as connection:
        assert steps.held(connection, [old]) == set()
        assert steps.finish(connection, old, share_out=False, details={}) is None
    rig.relay()
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"


def test_a_task_that_has_not_failed_is_not_tried_again(rig: Rig) -> None:
    task_id = rig.arrive()
    assert refusal(retry, rig, task_id) == "NOT_FAILED"
    rig.run()
    assert refusal(retry, rig, task_id) == "NOT_FAILED"


def test_a_cancelled_task_stays_so_and_says_what_to_do_instead(rig: Rig) -> None:
    task_id = rig.arrive()
    cancel(rig, task_id)
    with pytest.raises(Conflict, match="reprocess") as caught:
        retry(rig, task_id)
    assert caught.value.code == "TASK_CANCELLED"


def test_a_task_with_a_newer_version_is_not_tried_again(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    rig.arrive(sequencer=2, etag="e2")
    assert refusal(retry, rig, task_id) == "SUPERSEDED"


def test_a_task_whose_object_never_came_is_not_tried_again(rig: Rig) -> None:
    upload = rig.announce(-1)
    with rig.database.transaction() as connection:
        (expired,) = open_uploads.expired(connection, limit=1)
        assert open_uploads.expire(connection, expired)
    assert refusal(retry, rig, upload.task_id) == "NEVER_UPLOADED"


def test_a_task_without_its_artifacts_is_not_tried_again(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    rig.sql("UPDATE tasks SET tidied_at = now()")
    assert refusal(retry, rig, task_id) == "ARTIFACTS_GONE"


def test_a_task_of_a_deleted_document_is_not_tried_again(rig: Rig) -> None:
    task_id = fails(rig, "SPLIT")
    ((document_id,),) = rows(rig, "SELECT id FROM documents")
    with rig.database.transaction() as connection:
        removals.begin(connection, [document_id], DOCUMENT_DELETE, user_id="admin", asked=False)
    assert refusal(retry, rig, task_id) == "DOCUMENT_DELETED"


def test_a_deletion_that_failed_can_be_tried_again_even_when_its_document_is_gone(rig: Rig) -> None:
    task_id = removal(rig)
    ready = "SELECT step_order, step_name FROM task_details WHERE task_id = :task AND ready_at IS NOT NULL"
    ((order, name),) = rows(rig, ready, task=task_id)
    with rig.database.transaction() as connection:
        claim = steps.claim(connection, StepRef(task_id, order, name), owner="me", lease_seconds=60)
        assert isinstance(claim, Claim)
        steps.fail(connection, claim, code="INTERNAL_ERROR", message="", details={})
    rig.sql("DELETE FROM documents")
    assert retry(rig, task_id) == "RUNNING"
    assert rig.relay() == 1


def _raise(error: Exception, *_: object) -> None:
    raise error
