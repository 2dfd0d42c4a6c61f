"""Dead letters on a real Postgres, by the endpoints' functions: what they tell, and that sending one again is safe."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from common import dead_letters
from common.dead_letter_views import WholeLetterView
from common.dead_letters import Letter
from common.errors import Conflict, NotFound, Rejected, RequestError, Retryable, Unavailable
from common.http import Call
from common.principal import Principal
from functions.http.dead_letters import (
    LetterQuery,
    Redrive,
    RedriveRequest,
    forget_dead_letter,
    list_dead_letters,
    read_dead_letter,
    redrive_dead_letter,
    redrive_dead_letters,
)
from functions.http.tasks import retry_task
from functions.schedule.forget import forget
from router import letters, topology
from tests.integration.rig import Rig

pytestmark = pytest.mark.integration

ADMIN = Principal("admin", is_admin=True)
SPLIT = topology.step_queue("SPLIT")


def call(rig: Rig, **path: str) -> Call:
    return Call(
        rig.services,
        {rig.pipeline.name: rig.pipeline},
        ADMIN,
        path,
        send=rig.outbox.send_now,
        put_back=partial(letters.put_back, rig.broker),
    )


def redrive(rig: Rig, letter_id: str) -> Redrive:
    return redrive_dead_letter(call(rig, letter_id=letter_id))


def read(rig: Rig, letter_id: str) -> WholeLetterView:
    return read_dead_letter(call(rig, letter_id=letter_id))


def raises(error: Exception) -> Any:
    def function(_: object) -> None:
        raise error

    return function


def fails(rig: Rig, step: str = "SPLIT", sequencer: int = 1, key: str = "incoming/a.txt") -> str:
    """A task whose step has used up its attempts, and will do better next time."""
    task_id = rig.arrive(sequencer, f"e{sequencer}", key)
    rig.before[step] = raises(Retryable("Not now.", code="NOT_NOW"))
    rig.run_without_waiting()
    rig.before.clear()
    assert rig.task(task_id)["status"] == "FAILED"
    return task_id


def put(rig: Rig, **changes: Any) -> str:
    """A letter that no transaction of ours has written."""
    letter = Letter(**{"queue": topology.NOTIFICATIONS, "body": b"{}", "code": "INVALID_EVENT", "reason": ""} | changes)
    with rig.database.transaction() as connection:
        return dead_letters.keep(connection, letter)


# What a letter tells.


def test_a_step_that_failed_is_there_with_its_reason_its_document_and_its_input(rig: Rig) -> None:
    task_id = fails(rig)
    (letter,) = rig.letters()
    assert (letter.queue, letter.code, letter.reason, letter.state) == (SPLIT, "NOT_NOW", "Not now.", "open")
    assert (letter.task_id, letter.step_name, letter.document_name) == (task_id, "SPLIT", "a.txt")
    whole = read(rig, letter.id)
    assert whole.body_format == "json"
    assert msgspec.json.decode(msgspec.json.encode(whole.body))["task_id"] == task_id
    (key,) = rig.store.objects
    assert (whole.input.kind, whole.input.step_name, whole.input.size) == (
        "artifact",
        "EXTRACT_TEXT",
        len(rig.store.objects[key]),
    )
    assert key not in msgspec.json.encode(whole).decode()


def test_the_input_of_a_batch_is_its_share(rig: Rig) -> None:
    fails(rig, "VECTORIZE")
    (letter,) = rig.letters()
    given = read(rig, letter.id).input
    assert (given.step_name, given.first, given.last) == ("EXTRACT_TEXT", 0, 30)


def test_a_store_that_is_away_leaves_the_size_unknown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(rig)
    monkeypatch.setattr(rig.store, "size_of_prefix", raises(Unavailable("Away.")))
    assert read(rig, rig.letters()[0].id).input.size is None


def test_what_came_first_has_its_object_as_input(rig: Rig) -> None:
    fails(rig, "EXTRACT_TEXT")
    given = read(rig, rig.letters()[0].id).input
    assert (given.kind, given.size) == ("object", 5)


@pytest.mark.parametrize(
    ("body", "shown", "how"),
    [
        (b'{"a": [1.10, 123456789012345678901234567890]}', None, "json"),
        (b"[" * 50 + b"]" * 50, "[" * 50 + "]" * 50, "text"),
        (b"[" * 100_000, "[" * 100_000, "text"),
        ("{中文".encode(), "{中文", "text"),
        (b"\xff\x00", "/wA=", "base64"),
        (b"", "", "text"),
    ],
)
def test_a_body_is_shown_as_what_it_is(rig: Rig, body: bytes, shown: str | None, how: str) -> None:
    whole = read(rig, put(rig, body=body))
    assert whole.body_format == how
    assert whole.input.kind == "body"
    sent = msgspec.json.encode(whole)
    assert (body in sent) if shown is None else whole.body == shown


def test_of_a_body_beyond_all_measure_the_beginning_is_kept_and_it_is_not_sent_again(rig: Rig) -> None:
    size = dead_letters.MAX_BODY_BYTES + 1
    letter_id = put(rig, body=b"x" * size)
    whole = read(rig, letter_id)
    assert (whole.size, whole.complete, len(whole.body)) == (size, False, dead_letters.MAX_BODY_BYTES)
    assert [one.code for one in redrive(rig, letter_id).skipped] == ["TOO_LARGE"]


def test_the_list_is_narrowed_and_paged(rig: Rig) -> None:
    ids = [put(rig, body=b"%d" % n, died_at=datetime(2026, 1, 1, second=n, tzinfo=UTC)) for n in range(5)]
    put(rig, queue=SPLIT, code="INVALID_MESSAGE")
    first = list_dead_letters(call(rig), LetterQuery(queue=topology.NOTIFICATIONS, limit=3))
    rest = list_dead_letters(call(rig), LetterQuery(queue=topology.NOTIFICATIONS, cursor=first.next_cursor))
    assert [one.id for one in first.items + rest.items] == ids[::-1]
    assert rest.next_cursor is None
    assert [one.queue for one in rig.letters(code="INVALID_MESSAGE")] == [SPLIT]
    assert rig.letters(state="redriven") == []


# Counted, and open again.


def test_the_same_letter_is_counted_and_one_told_twice_is_not(rig: Rig) -> None:
    moments = [datetime(2026, 1, 1, second=n, tzinfo=UTC) for n in (1, 2, 2)]
    (letter_id,) = {put(rig, died_at=moment, reason=f"{moment}") for moment in moments}
    whole = read(rig, letter_id)
    assert (whole.times, whole.died_at, whole.last_died_at) == (2, moments[0], moments[1])
    assert whole.reason == f"{moments[1]}"


def test_what_dies_again_after_it_was_sent_again_is_open_again(rig: Rig) -> None:
    letter_id = put(rig, died_at=datetime(2026, 1, 1, tzinfo=UTC))
    redrive(rig, letter_id)
    assert read(rig, letter_id).state == "redriven"
    put(rig, died_at=datetime(2026, 1, 1, tzinfo=UTC))  # RabbitMQ delivers it once more: no news
    assert read(rig, letter_id).state == "redriven"
    put(rig, died_at=datetime(2025, 12, 31, tzinfo=UTC))  # by a clock that is slow
    assert (read(rig, letter_id).state, read(rig, letter_id).times) == ("open", 2)


# Sent again.


def test_a_failed_step_goes_on_and_its_letter_is_resolved_in_the_end(rig: Rig) -> None:
    task_id = fails(rig)
    (letter,) = rig.letters()
    assert redrive(rig, letter.id).redriven == 1
    assert (rig.task(task_id)["status"], rig.letters()[0].state) == ("RUNNING", "redriven")
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert rig.letters()[0].state == "resolved"
    assert rig.count("audit_log WHERE action = 'dead_letter.redrive'") == 1


def test_a_step_that_fails_again_is_the_same_letter_open_again(rig: Rig) -> None:
    fails(rig)
    redrive(rig, rig.letters()[0].id)
    rig.before["SPLIT"] = raises(Retryable("Not now either.", code="NOT_NOW"))
    rig.run_without_waiting()
    (letter,) = rig.letters()
    assert (letter.state, letter.times, letter.reason) == ("open", 2, "Not now either.")
    assert redrive(rig, letter.id).redriven == 1


def test_twice_is_once_and_the_second_answer_says_so(rig: Rig) -> None:
    fails(rig)
    noted = put(rig, body=b'{"Records": []}')
    for letter_id in (rig.letters(queue=SPLIT)[0].id, noted):
        sent = len(rig.broker.published)
        first, second = redrive(rig, letter_id), redrive(rig, letter_id)
        assert (first.redriven, second.redriven, [one.code for one in second.skipped]) == (1, 0, ["REDRIVEN"])
        assert len(rig.broker.published) == sent + 1


def test_a_letter_whose_step_was_done_sends_nothing_of_what_failed_later(rig: Rig) -> None:
    task_id = fails(rig)
    letter_id = rig.letters()[0].id
    redrive(rig, letter_id)
    rig.before["VECTORIZE"] = raises(Rejected("Cannot be.", code="NO"))
    rig.run_without_waiting()
    again = redrive(rig, letter_id)
    assert (again.redriven, len(again.skipped)) == (0, 1)
    assert rig.task(task_id)["status"] == "FAILED"


def test_many_at_once_are_one(rig: Rig) -> None:
    fails(rig)
    ids = [rig.letters()[0].id, put(rig)]
    sent = len(rig.broker.published)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(partial(redrive, rig), ids * 4))
    assert sum(answer.redriven for answer in answers) == 2
    assert {one.code for answer in answers for one in answer.skipped} == {"REDRIVEN"}
    assert len(rig.broker.published) == sent + 2
    rig.run()
    assert rig.names().count("STORE") == 1


def test_redriven_while_its_task_is_tried_again_by_hand_it_is_tried_once(rig: Rig) -> None:
    for number in range(1, 6):
        task_id = fails(rig, sequencer=number, key=f"incoming/{number}.txt")
        letter_id = rig.letters(task_id=task_id)[0].id

        def by_hand(task_id: str = task_id) -> int:
            try:
                retry_task(call(rig, task_id=task_id))
            except Conflict:
                return 0
            return 1

        with ThreadPoolExecutor(2) as threads:
            retried, redriven = threads.submit(by_hand), threads.submit(redrive, rig, letter_id)
        assert retried.result() + redriven.result().redriven == 1
        if retried.result():
            assert [one.code for one in redriven.result().skipped] == ["RESOLVED"]
        assert rig.letters(task_id=task_id)[0].state in ("redriven", "resolved")


def test_what_was_tried_again_elsewhere_is_resolved_and_no_kind_holds_it(rig: Rig) -> None:
    task_id = fails(rig)
    retry_task(call(rig, task_id=task_id))
    assert rig.letters()[0].state == "resolved"
    assert redrive_dead_letters(call(rig), RedriveRequest(all=True)) == Redrive(
        redriven=0, skipped=[], left=0, next_cursor=None
    )
    rig.before["SPLIT"] = raises(Rejected("There is no text in it.", code="NO_TEXT"))
    rig.run()
    assert rig.letters()[0].state == "resolved"  # its own cause is over; the document's fault is the task's to tell


def test_what_no_retry_can_help_says_why_and_holds_up_no_other(rig: Rig) -> None:
    fails(rig, sequencer=1)
    old = rig.letters()[0].id
    fails(rig, sequencer=2)
    (fresh,) = (one.id for one in rig.letters() if one.id != old)
    assert (read(rig, old).state, read(rig, fresh).state) == ("resolved", "open")
    answer = redrive_dead_letters(call(rig), RedriveRequest(ids=[old, "no-such-letter", fresh, fresh]))
    assert answer.redriven == 1
    assert {one.id: one.code for one in answer.skipped} == {old: "SUPERSEDED", "no-such-letter": "NOT_FOUND"}


def test_a_kind_is_sent_again_in_bounded_calls_that_come_to_an_end(rig: Rig) -> None:
    for number in range(105):
        put(rig, body=b"%d" % number)
    nowhere = put(rig, queue="", code="INVALID_EVENT")
    put(rig, code="OTHER", body=b"other")
    first = redrive_dead_letters(call(rig), RedriveRequest(code="INVALID_EVENT"))
    # The newest first, among them the one that is refused, which stays open.
    assert (first.redriven, [one.id for one in first.skipped], first.left) == (99, [nowhere], 7)
    assert first.skipped[0].code == "UNKNOWN_QUEUE"
    second = redrive_dead_letters(call(rig), RedriveRequest(code="INVALID_EVENT", cursor=first.next_cursor))
    assert (second.redriven, second.skipped, second.left, second.next_cursor) == (6, [], 1, None)
    assert len(rig.broker.queues[topology.NOTIFICATIONS]) == 105
    assert [one.code for one in rig.letters(state="open")] == ["OTHER", "INVALID_EVENT"]


def test_a_letter_that_rabbitmq_did_not_take_stays_open(rig: Rig) -> None:
    letter_id = put(rig)
    rig.broker.fail_next = 1
    with pytest.raises(Unavailable):
        redrive(rig, letter_id)
    assert read(rig, letter_id).state == "open"
    assert redrive(rig, letter_id).redriven == 1


def test_a_message_that_rabbitmq_gave_up_is_put_back_on_its_queue(rig: Rig) -> None:
    task_id = rig.arrive()
    queue = topology.step_queue("EXTRACT_TEXT")
    lost = rig.broker.queues[queue].popleft()
    letter_id = put(rig, queue=queue, body=lost.body, code="DELIVERY_LIMIT", task_id=task_id, step_name="EXTRACT_TEXT")
    assert read(rig, letter_id).state == "open"
    assert redrive(rig, letter_id).redriven == 1
    rig.run()
    assert rig.task(task_id)["status"] == "COMPLETED"
    assert read(rig, letter_id).state == "resolved"


@pytest.mark.parametrize("which", [{}, {"all": True, "queue": "q"}, {"ids": ["a"], "code": "c"}])
def test_which_letters_are_meant_must_be_said(rig: Rig, which: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="Say which"):
        redrive_dead_letters(call(rig), RedriveRequest(**which))


# Forgotten.


def test_a_letter_that_is_given_up_is_gone_and_what_is_gone_is_not_there(rig: Rig) -> None:
    letter_id = put(rig)
    forget_dead_letter(call(rig, letter_id=letter_id))
    for gone in (read, redrive):
        with pytest.raises(NotFound):
            gone(rig, letter_id)
    with pytest.raises(NotFound):
        forget_dead_letter(call(rig, letter_id=letter_id))
    assert rig.count("audit_log WHERE action = 'dead_letter.forget'") == 1


def test_what_nobody_needs_is_forgotten_after_its_days_and_what_is_open_never(rig: Rig) -> None:
    fails(rig)
    redrive(rig, rig.letters()[0].id)
    rig.run()
    sent, waiting = put(rig, body=b"sent"), put(rig, body=b"waiting")
    redrive(rig, sent)
    days = rig.services.settings.dead_letter_days
    rig.sql("UPDATE dead_letters SET died_at = '2020-01-01', last_died_at = '2020-01-01'")
    forget(rig.services)
    assert rig.count("dead_letters") == 3  # two were sent again only now
    rig.sql(f"UPDATE dead_letters SET redriven_at = redriven_at - interval '{days} days 1 second'")
    forget(rig.services)
    assert [one.id for one in rig.letters()] == [waiting]
