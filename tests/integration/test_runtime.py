"""The runtime protocol on a real Postgres: whatever is delivered twice, late or not at all, each step is done once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from common import steps, tasks
from common.context import Context
from common.errors import Rejected, Retryable, Superseded, Unavailable
from common.lanes import Due
from common.pipelines import Step
from router import topology
from router.broker import Delivery
from router.letters import to_step
from router.outbox import messages
from router.runtime import put_off
from tests.integration.rig import Rig


def test_a_task_goes_through_all_its_steps_and_shares_one_out(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.run()
    task = rig.task(task_id)
    assert (task["status"], task["overall_progress"]) == ("COMPLETED", 100)
    assert rig.steps(task_id) == ["COMPLETED"] * 5
    assert task["task_details"][1]["details"] == {"words": 5}
    # SPLIT made nothing, so VECTORIZE was given what EXTRACT_TEXT made, in shares of two; STORE got it in order.
    assert rig.calls[1] == ("SPLIT", ["one", "two", "three", "four", "five"])
    assert sorted(given for name, given in rig.calls if name == "VECTORIZE") == [
        ["five"],
        ["one", "two"],
        ["three", "four"],
    ]
    assert rig.calls[-1] == ("STORE", ["ONE", "TWO", "THREE", "FOUR", "FIVE"])
    assert not rig.broker.unacked


def test_large_artifacts_go_to_the_store_and_small_ones_stay_in_the_row(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.run()
    assert list(rig.store.objects) == [f"artifacts/{task_id}/EXTRACT_TEXT/0.jsonl"]


def test_every_delivery_made_twice_runs_nothing_twice(rig: Rig) -> None:
    rig.arrive()

    def twice(delivery: Delivery) -> None:
        rig.runtime.handle(delivery)
        rig.runtime.handle(delivery)

    rig.broker.deliver(twice)
    assert sorted(rig.names()) == ["EXTRACT_TEXT", "SPLIT", "STORE", "VECTORIZE", "VECTORIZE", "VECTORIZE"]


def test_a_publish_that_fails_after_finishing_is_made_good_by_redelivery(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["EXTRACT_TEXT"] = lambda _: setattr(rig.broker, "fail_next", 1)
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert rig.names().count("EXTRACT_TEXT") == 1


def test_a_step_that_a_live_worker_holds_is_put_off(rig: Rig) -> None:
    task_id = rig.arrive()
    with rig.database.transaction() as connection:
        held = steps.claim(connection, steps.StepRef(task_id, 2, "EXTRACT_TEXT"), owner="another", lease_seconds=60)
    assert isinstance(held, steps.Claim)
    delivery = rig.broker.queues["brigade.step.extract_text"].popleft()
    rig.runtime.handle(delivery)
    assert rig.calls == []
    assert len(rig.broker.queues[topology.rung(10)]) == 1


def test_what_is_put_off_finds_its_way_back_by_whatever_name_it_came(rig: Rig) -> None:
    """What a rung cannot route when its time is over stays there for ever, and holds up what is behind it."""
    task_id = rig.arrive()
    straight = replace(rig.broker.queues["brigade.step.extract_text"].popleft(), key="brigade.step.extract_text")
    with rig.database.transaction() as connection:
        steps.claim(connection, steps.StepRef(task_id, 2, "EXTRACT_TEXT"), owner="another", lease_seconds=60)
    rig.runtime.handle(straight)
    put_off(rig.broker, straight)
    for seconds in (10, 10):
        assert rig.broker.queues[topology.rung(seconds)].popleft().key == "EXTRACT_TEXT"


def test_a_step_whose_worker_died_is_taken_over_when_its_lease_has_ended(rig: Rig) -> None:
    task_id = rig.arrive()
    with rig.database.transaction() as connection:
        steps.claim(connection, steps.StepRef(task_id, 2, "EXTRACT_TEXT"), owner="dead", lease_seconds=0)
    rig.run()
    task = rig.task(task_id)
    assert task["status"] == "COMPLETED"
    assert task["task_details"][1]["attempt"] == 2


def test_a_run_whose_end_cannot_be_written_down_is_not_told_as_completed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("Postgres is away.", server="postgres")

    rig.arrive()
    for name in ("finish", "retry_later"):
        monkeypatch.setattr(steps, name, away)
    with capture_logs() as told:
        rig.runtime.handle(rig.broker.queues["brigade.step.extract_text"].popleft())
    assert [one["outcome"] for one in told if one["event"] == "step.ended"] == ["interrupted"]


def test_a_worker_that_lost_its_lease_writes_nothing(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["EXTRACT_TEXT"] = lambda _: rig.sql("UPDATE task_details SET owner = 'another' WHERE owner LIKE 'me/%'")
    rig.runtime.handle(rig.broker.queues["brigade.step.extract_text"].popleft())
    assert rig.steps(task_id)[1] == "RUNNING"
    assert not rig.broker.queues["brigade.step.split"]


def test_cancelling_a_running_step_is_never_overwritten(rig: Rig) -> None:
    task_id = rig.arrive()

    def cancel(_: Context) -> None:
        with rig.database.transaction() as connection:
            assert tasks.cancel(connection, [task_id], code="CANCELLED", message="Enough.") == [task_id]

    rig.before["SPLIT"] = cancel
    rig.run()
    task = rig.task(task_id)
    assert (task["status"], task["error_message"]) == ("CANCELLED", "Enough.")
    assert rig.steps(task_id) == ["COMPLETED", "COMPLETED", "CANCELLED", "CANCELLED", "CANCELLED"]
    assert not rig.broker.unacked


def test_a_rejected_document_fails_at_once_with_its_reason(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["SPLIT"] = partial(_raise, Rejected("There is no text in it.", code="NO_TEXT"))
    rig.run()
    task = rig.task(task_id)
    assert (task["status"], task["error_code"], task["error_message"]) == (
        "FAILED",
        "NO_TEXT",
        "There is no text in it.",
    )
    assert task["task_details"][2]["attempt"] == 1
    assert rig.letters() == []  # it is the document's own fault


def test_a_passing_failure_is_tried_again(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["SPLIT"] = lambda _: _raise(Retryable("Not now.")) if rig.names().count("SPLIT") == 1 else None
    rig.run_without_waiting()
    task = rig.task(task_id)
    assert task["status"] == "COMPLETED"
    assert task["task_details"][2]["attempt"] == 2
    assert task["task_details"][2]["error_message"] is None


def test_a_failure_that_stays_ends_in_the_dead_letters_with_its_cause(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["VECTORIZE"] = partial(_raise, ZeroDivisionError("by nothing"))
    rig.run_without_waiting()
    task = rig.task(task_id)
    assert task["status"] == "FAILED"
    assert task["error_message"] == "VECTORIZE met a fault in the server (ZeroDivisionError), which is logged."
    assert rig.steps(task_id) == ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "PENDING"]
    (letter,) = rig.letters()
    assert (letter.queue, letter.reason) == ("brigade.step.vectorize", "ZeroDivisionError: by nothing")


def test_a_step_that_kills_its_workers_fails_in_the_end(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.sql("UPDATE task_details SET attempt = 5 WHERE step_order = 2")
    rig.run_without_waiting()
    task = rig.task(task_id)
    assert (task["status"], task["error_code"]) == ("FAILED", "WORKER_DIED")
    assert rig.calls == []


def test_a_function_that_finds_its_object_superseded_ends_the_task(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["EXTRACT_TEXT"] = partial(_raise, Superseded("A newer one has come."))
    rig.run()
    task = rig.task(task_id)
    assert (task["status"], task["error_code"]) == ("CANCELLED", "SUPERSEDED")


def test_a_newer_version_ends_the_older_task(rig: Rig) -> None:
    older = rig.arrive(sequencer=1, etag="e1")
    newer = rig.arrive(sequencer=2, etag="e2")
    rig.run()
    assert rig.task(older)["status"] == "CANCELLED"
    assert rig.task(older)["error_code"] == "SUPERSEDED"
    assert rig.task(newer)["status"] == "COMPLETED"
    assert rig.names().count("STORE") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"pipeline": "DOCUMENT_UPLOAD"}',
        b'{"pipeline":"NO","step":"X","task_id":"1","step_order":1}',
    ],
)
def test_a_message_that_makes_no_sense_goes_to_the_dead_letters(rig: Rig, body: bytes) -> None:
    rig.runtime.handle(Delivery("brigade.step.split", "SPLIT", body, {}, tag=1, epoch=1))
    (letter,) = rig.broker.queues[topology.DEAD]
    assert letter.body == body
    assert letter.headers["brigade-code"] == "INVALID_MESSAGE"


def test_a_message_for_a_step_that_is_not_ready_starts_nothing(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.broker.queues.clear()
    (forged,) = messages([Due(steps.StepRef(task_id, 5, "STORE"), rig.pipeline.name)])
    rig.broker.publish([to_step(forged)])
    rig.run()
    assert rig.calls == []


def test_progress_shows_while_a_step_runs_and_never_goes_back(rig: Rig) -> None:
    task_id = rig.arrive()
    ref = steps.StepRef(task_id, 2, "EXTRACT_TEXT")
    with rig.database.transaction() as connection:
        claim = steps.claim(connection, ref, owner="me", lease_seconds=60)
        assert isinstance(claim, steps.Claim)
        steps.set_progress(connection, claim, percent=50)
        steps.set_progress(connection, claim, percent=20)
        steps.set_progress(connection, replace(claim, owner="another"), percent=90)
    task = rig.task(task_id)
    assert task["task_details"][1]["progress"] == 50
    assert task["overall_progress"] == 30  # 10 for the upload, half of 40


def test_a_server_that_is_away_uses_up_no_attempt(rig: Rig) -> None:
    task_id = rig.arrive()
    rig.before["SPLIT"] = lambda _: _raise(Unavailable("Away.")) if rig.names().count("SPLIT") < 20 else None
    rig.run_without_waiting()
    task = rig.task(task_id)
    assert task["status"] == "COMPLETED"
    assert task["task_details"][2]["attempt"] == 1


@pytest.mark.parametrize("text", ["\x00", "\\u0000", "a\ud800b", "\\"])
def test_details_and_reasons_may_hold_whatever_documents_do(rig: Rig, text: str) -> None:
    noted = rig.arrive(sequencer=1, etag="e1")
    rig.before["EXTRACT_TEXT"] = lambda ctx: ctx.note(title=text, parts=[text])
    rig.run()
    assert rig.task(noted)["status"] == "COMPLETED"
    refused = rig.arrive(sequencer=2, etag="e2")
    rig.before["EXTRACT_TEXT"] = partial(_raise, Rejected(f"It is named {text}.", code="UNSUPPORTED_TYPE"))
    rig.run()
    assert rig.task(refused)["error_code"] == "UNSUPPORTED_TYPE"


def test_a_step_added_to_the_table_is_for_tasks_that_begin_after_it(rig: Rig) -> None:
    before = rig.arrive(sequencer=1, etag="e1")
    steps = rig.pipeline.steps
    rig.pipeline = replace(rig.pipeline, steps=(*steps[:2], Step("PREPROCESS", rig.look), *steps[2:]))
    rig.runtime = rig.worker("new")
    rig.run()
    assert rig.task(before)["status"] == "COMPLETED"
    assert len(rig.steps(before)) == 5
    assert rig.calls[-1] == ("STORE", ["ONE", "TWO", "THREE", "FOUR", "FIVE"])
    after = rig.arrive(sequencer=2, etag="e2")
    rig.run()
    assert rig.steps(after) == ["COMPLETED"] * 6


def _raise(error: Exception, *_: object) -> None:
    raise error
