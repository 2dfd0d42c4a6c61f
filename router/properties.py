"""A message's properties, as pika reads them, whatever a sender put there.

pika decodes headers on its I/O thread, and some values that RabbitMQ lets through it cannot read: a time after the year
9999, tables that are nested deeply. The error would end the connection, the message would come again, and end the next
one. So what cannot be read is left out.
"""

from __future__ import annotations

import struct
from typing import Any

import structlog
from pika import spec
from pika.exceptions import AMQPError

log = structlog.get_logger()

_UNREADABLE = (AMQPError, ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError, struct.error)


class Properties(spec.BasicProperties):  # type: ignore[misc] # pika has no types for it
    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        try:
            return super().decode(encoded, offset)
        except _UNREADABLE as error:
            log.warning("message.properties_unreadable", error=repr(error))
            super().__init__()  # as if the sender had given none
            return self


def read_any() -> None:
    """From now on this process's connections read any message's properties."""
    spec.props[Properties.INDEX] = Properties
