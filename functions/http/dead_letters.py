"""Dead letters, for admins: what was given up on, to send it again or to forget it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import msgspec

from common import audit, dead_letter_views, dead_letters, redriving
from common.dead_letter_views import LetterView, WholeLetterView
from common.dead_letters import Wanted
from common.errors import Conflict, NotFound, RequestError
from common.http import Call
from common.paging import Cursor, Limit

_Id = Annotated[str, msgspec.Meta(max_length=200)]
_Queue = Annotated[str, msgspec.Meta(max_length=255)]
_Ids = Annotated[list[_Id], msgspec.Meta(min_length=1, max_length=100)]

# A call of so many takes a second or so.
_AT_ONCE = 100


class LetterQuery(msgspec.Struct, kw_only=True, frozen=True):
    queue: _Queue | None = None
    code: _Id | None = None
    task_id: _Id | None = None
    state: Literal["open", "redriven", "resolved"] | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class LetterPage(msgspec.Struct, kw_only=True, frozen=True):
    """Who died first is last."""

    items: list[LetterView]
    next_cursor: str | None


class RedriveRequest(msgspec.Struct, kw_only=True, frozen=True):
    """Which letters: `ids`; open ones of a `queue`, a `code` or both; or `all`. `cursor`: the call before's next."""

    ids: _Ids | None = None
    queue: _Queue | None = None
    code: _Id | None = None
    all: bool = False
    cursor: Cursor | None = None


class Skipped(msgspec.Struct, kw_only=True, frozen=True):
    """`code`: REDRIVEN and RESOLVED are no failures: there was nothing to do any more."""

    id: str
    code: str
    reason: str


class Redrive(msgspec.Struct, kw_only=True, frozen=True):
    """How many were sent again, and which not, and why. `left`: how many of those that were asked for are open still.

    `next_cursor`: there are more than one call does; None: all had their turn.
    """

    redriven: int
    skipped: list[Skipped]
    left: int
    next_cursor: str | None


def list_dead_letters(call: Call, query: LetterQuery) -> LetterPage:
    """What was given up on, the latest first."""
    wanted = Wanted(query.queue, query.code, query.task_id, query.state)
    with call.services.database.transaction() as connection:
        items, following = dead_letter_views.page(connection, wanted, cursor=query.cursor, limit=query.limit)
    return LetterPage(items=items, next_cursor=following)


def read_dead_letter(call: Call) -> WholeLetterView:
    """A dead letter with its body, and what its function was given."""
    letter_id = call.path["letter_id"]
    with call.services.database.transaction() as connection:
        letter = dead_letter_views.read(connection, call.services.objects, letter_id)
    if letter is None:
        raise NotFound(f"There is no dead letter {letter_id!r}.")
    return letter


def redrive_dead_letter(call: Call) -> Redrive:
    """Send a dead letter again: its task goes on at the step that failed, a notification is taken in anew.

    Asked twice, it is done once, and the second answer says so.
    """
    letter_id = call.path["letter_id"]
    skipped = _redrive(call, letter_id)
    if skipped is not None and skipped.code == NotFound.code:
        raise NotFound(skipped.reason)
    return _answer(call, Wanted(ids=[letter_id]), [letter_id], [skipped], None)


def redrive_dead_letters(call: Call, body: RedriveRequest) -> Redrive:
    """Send many dead letters again: those named, or all open ones of a kind, up to 100 a call.

    One that cannot be is told with the reason, and holds up no other.
    """
    by_kind = body.queue is not None or body.code is not None
    if [body.ids is not None, by_kind, body.all].count(True) != 1:
        raise RequestError("Say which letters: by ids, by queue and code, or all of them.", code="INVALID_BODY")
    wanted = Wanted(body.queue, body.code, ids=body.ids)
    ids, following = body.ids, None
    if ids is None:
        with call.services.database.transaction() as connection:
            found, following = dead_letter_views.page(
                connection, replace(wanted, state="open"), cursor=body.cursor, limit=_AT_ONCE
            )
        ids = [letter.id for letter in found]
    ids = list(dict.fromkeys(ids))
    return _answer(call, wanted, ids, [_redrive(call, letter_id) for letter_id in ids], following)


def forget_dead_letter(call: Call) -> None:
    """Give a dead letter up for good. A task that failed stays FAILED."""
    letter_id = call.path["letter_id"]
    with call.services.database.transaction() as connection:
        if not dead_letters.forget(connection, letter_id):
            raise NotFound(f"There is no dead letter {letter_id!r}.")
        audit.record(connection, call.caller, "dead_letter.forget", letter_id)


def _redrive(call: Call, letter_id: str) -> Skipped | None:
    """Send it again, in a transaction of its own. What was not, with the reason."""
    try:
        with call.services.database.transaction() as connection:
            letter, ready = redriving.redrive(
                connection, letter_id, user_id=call.caller.user_id, put_back=call.put_back
            )
            audit.record(
                connection,
                call.caller,
                "dead_letter.redrive",
                letter_id,
                queue=letter.queue,
                code=letter.code,
                task_id=letter.task_id,
            )
    except (Conflict, NotFound) as error:
        return Skipped(id=letter_id, code=error.code, reason=error.message)
    if ready:
        call.send(ready)
    return None


def _answer(call: Call, wanted: Wanted, ids: list[str], skipped: list[Skipped | None], cursor: str | None) -> Redrive:
    with call.services.database.transaction() as connection:
        left = sum(dead_letters.count_open(connection, wanted).values())
    told = [one for one in skipped if one is not None]
    return Redrive(redriven=len(ids) - len(told), skipped=told, left=left, next_cursor=cursor)
