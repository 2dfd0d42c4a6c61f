"""What travels on RabbitMQ to make a function run: the name of a step's run, nothing else.

Its input is in Postgres or the store. So a message can be lost, doubled, late or made again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from common.errors import InvalidMessage
from common.steps import StepRef
from common.untrusted import UNREADABLE, holds_nul


@dataclass(frozen=True, slots=True)
class Message:
    """`pipeline` and `step` are names of router/table.py. `lane`: whose turn it is; see common/lanes.py."""

    pipeline: str
    step: str
    task_id: str
    step_order: int
    batch: int = 0
    lane: str = ""

    @property
    def ref(self) -> StepRef:
        return StepRef(self.task_id, self.step_order, self.step, self.batch, self.lane)


_decoder = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    return msgspec.json.encode(message)


def decode(body: bytes) -> Message:
    try:
        message = _decoder.decode(body)
    except UNREADABLE as error:
        raise InvalidMessage(f"Not a step's message: {error}") from error
    if holds_nul(body):
        raise InvalidMessage("Not a step's message: it holds a NUL character.")
    return message
