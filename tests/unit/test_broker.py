"""What can be said of PikaBroker without RabbitMQ."""

from __future__ import annotations

import time

import pytest

from common.errors import Unavailable
from router.broker import PikaBroker, Publication


def test_without_patience_a_publish_is_refused_at_once_while_the_connection_is_down() -> None:
    broker = PikaBroker("amqp://127.0.0.1:1", timeout_seconds=10, patience_seconds=0)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        broker.publish([Publication("exchange", "key", b"{}")])
    assert time.monotonic() - began < 1
