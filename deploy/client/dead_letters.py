"""Dead letters, for admins: listed, looked at, sent again, forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deploy.client import calls
from deploy.client.letter_shapes import DeadLetter, Redrive, WholeDeadLetter
from deploy.client.pages import items
from deploy.client.transport import Transport

_IDS_A_CALL = 100


class DeadLetters:
    def __init__(self, api: Transport) -> None:
        self._api = api

    def list(
        self,
        *,
        queue: str | None = None,
        code: str | None = None,
        task_id: str | None = None,
        state: str | None = None,
    ) -> Iterator[DeadLetter]:
        """The latest first. `state`: open, redriven or resolved."""
        query = {"queue": queue, "code": code, "task_id": task_id, "state": state}
        return items(self._api, calls.LIST_DEAD_LETTERS, query)

    def get(self, letter_id: str) -> WholeDeadLetter:
        return self._api.call(calls.GET_DEAD_LETTER, letter_id=letter_id)

    def redrive(self, letter_id: str) -> Redrive:
        return self._api.call(calls.REDRIVE_DEAD_LETTER, letter_id=letter_id)

    def redrive_these(self, letter_ids: Sequence[str]) -> Redrive:
        """As many calls as it takes."""
        shares = [letter_ids[at : at + _IDS_A_CALL] for at in range(0, len(letter_ids), _IDS_A_CALL)]
        made = [self._api.call(calls.REDRIVE_DEAD_LETTERS, {"ids": list(share)}) for share in shares]
        return Redrive(
            sum(one.redriven for one in made),
            sum(one.left for one in made),
            [skipped for one in made for skipped in one.skipped],
        )

    def redrive_all(self, *, queue: str | None = None, code: str | None = None) -> Redrive:
        """All that are open, or those of a queue, a code or both. As many calls as it takes."""
        which: dict[str, Any] = {"queue": queue, "code": code, "all": queue is None and code is None}
        made = [self._api.call(calls.REDRIVE_DEAD_LETTERS, which)]
        while made[-1].next_cursor is not None:
            made.append(self._api.call(calls.REDRIVE_DEAD_LETTERS, {**which, "cursor": made[-1].next_cursor}))
        return Redrive(
            sum(one.redriven for one in made), made[-1].left, [skipped for one in made for skipped in one.skipped]
        )

    def forget(self, letter_id: str) -> None:
        """Give it up for good."""
        self._api.call(calls.FORGET_DEAD_LETTER, letter_id=letter_id)
