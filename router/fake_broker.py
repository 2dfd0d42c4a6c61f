"""A broker without a server, for tests of the runtime and of one's own functions: queues as lists, delays at once."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from common.errors import Unavailable
from router import topology
from router.broker import Delivery, Publication


class FakeBroker:
    """Routes as router/topology.py declares. `fail_next` makes so many publishes fail as a lost connection does."""

    def __init__(self) -> None:
        self.queues: dict[str, deque[Delivery]] = defaultdict(deque)
        self.unacked: dict[int, Delivery] = {}
        self.published: list[Publication] = []
        self.fail_next = 0
        self._tag = 0

    def publish(self, publications: Sequence[Publication]) -> None:
        if self.fail_next:
            self.fail_next -= 1
            raise Unavailable("RabbitMQ did not confirm a message.", server="rabbitmq")
        for one in publications:
            self.published.append(one)
            bound = [
                queue
                for queue in topology.queues()
                if any(name == one.exchange and key in ("", "#", one.key) for name, key in queue.bindings)
            ]
            if not bound:
                raise Unavailable(f"No queue is bound to {one.exchange} with {one.key}.", server="rabbitmq")
            for queue in bound:
                self._tag += 1
                delivery = Delivery(queue.name, one.key, one.body, one.headers, self._tag, epoch=1)
                self.queues[queue.name].append(delivery)

    def ack(self, delivery: Delivery) -> None:
        self.unacked.pop(delivery.tag, None)

    def requeue(self, delivery: Delivery) -> None:
        self.unacked.pop(delivery.tag, None)
        self.queues[delivery.queue].append(delivery)

    def ready(self, queues: Sequence[str]) -> dict[str, int]:
        return {queue: len(self.queues[queue]) for queue in queues}

    def deliver(self, handle: Callable[[Delivery], None], *, limit: int = 1000) -> int:
        """Hand out everything on the work queues, waiting messages too, until none is left; returns how many."""
        for count in range(limit):
            self._climb_down()
            queue = next((q for q in self.queues if self.queues[q] and q != topology.DEAD), None)
            if queue is None:
                return count
            delivery = self.queues[queue].popleft()
            self.unacked[delivery.tag] = delivery
            handle(delivery)
        raise AssertionError(f"Still messages after {limit} deliveries: {dict(self.queues)}")

    def _climb_down(self) -> None:
        for seconds in topology.LADDER_SECONDS:
            waiting = self.queues[topology.rung(seconds)]
            while waiting:
                one = waiting.popleft()
                queue = one.key if one.key == topology.NOTIFICATIONS else topology.step_queue(one.key)
                self.queues[queue].append(Delivery(queue, one.key, one.body, one.headers, one.tag, one.epoch))
