"""The worker process: one thread for RabbitMQ's I/O, some that work, one heartbeat."""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from prometheus_client import start_http_server

from common.errors import BrigadeError, ConfigurationError, InvalidMessage, Unavailable
from common.failpoints import Failpoints
from common.services import Services
from common.settings import Settings
from common.telemetry import configure_logging
from common.workers import INGRESS
from functions.ingest import extract
from router import letters, signatures, topology
from router.broker import Delivery, PikaBroker
from router.fair_queue import Closed, FairQueue
from router.ingress import Ingress
from router.leases import Leases
from router.message import decode
from router.outbox import Outbox
from router.presence import Presence
from router.runtime import Runtime
from router.table import PIPELINES

log = structlog.get_logger()

_MARK_SECONDS = 1.0
_STOP_SECONDS = 10.0
# Deliveries of each queue that wait here for each thread: names, so that they cost nothing. Of several knowledge bases'
# messages each must be among them, and those that the others are not done with yet leave room for the next.
_PREFETCH = 4
# Notifications that are dealt with at once, if so many wait.
_TOGETHER = 64


class Worker:
    """Runs the steps named in `functions` (INGRESS: notifications), or all."""

    def __init__(self, settings: Settings, functions: Sequence[str] | None = None) -> None:
        signatures.check(PIPELINES)
        self._settings = settings
        names = _names(functions)
        self._queues = _queues(names)
        self._ranks = {name: rank for rank, name in enumerate(self._queues)}
        self._waiting: FairQueue[Delivery] = FairQueue(settings.work_threads)
        self._stop = threading.Event()
        self.stuck = False  # a run never ends: this process must
        self._services = Services(settings)
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._broker = PikaBroker(
            settings.amqp_url.get_secret_value(),
            timeout_seconds=settings.server_timeout_seconds,
            prefetch=dict.fromkeys(self._queues, _PREFETCH * settings.work_threads)
            | ({topology.NOTIFICATIONS: 2 * _TOGETHER} if INGRESS in names else {}),
            on_delivery=self._receive,
        )
        self._outbox = Outbox(self._services.database, self._broker, lane_runs=settings.lane_runs)
        self._leases = Leases(self._services.database, lease_seconds=settings.lease_seconds, on_stuck=self._begin_anew)
        self._ingress = Ingress(
            self._services.database,
            self._services.objects,
            self._broker,
            self._outbox,
            Failpoints(settings.failpoints),
        )
        self._runtime = Runtime(self._services, self._broker, owner=owner, leases=self._leases, outbox=self._outbox)
        self._presence = Presence(self._services.database, self._broker, owner, names, threads=settings.work_threads)

    def run(self) -> None:
        """Work until `stop` is called."""
        self._warm_up()
        workers = [
            threading.Thread(target=self._work, name=f"work-{n}", daemon=True)
            for n in range(self._settings.work_threads)
        ]
        helpers = [
            threading.Thread(
                target=self._leases.keep_alive,
                args=(self._stop, self._settings.hang_seconds),
                name="heartbeat",
                daemon=True,
            ),
            threading.Thread(target=self._mark, name="outbox", daemon=True),
            threading.Thread(target=self._presence.keep, args=(self._stop,), name="presence", daemon=True),
        ]
        for thread in workers + helpers:
            thread.start()
        self._broker.start()
        log.info("worker.started", queues=list(self._queues), threads=self._settings.work_threads)
        self._stop.wait()
        self._end(workers)

    def stop(self) -> None:
        self._stop.set()

    def _begin_anew(self) -> None:
        """A run does not end, and a thread cannot be ended: the process is, so that another takes its place."""
        self.stuck = True
        ending = threading.Timer(2 * _STOP_SECONDS, os._exit, (1,))  # whatever holds up an orderly end
        ending.daemon = True
        ending.start()
        self.stop()

    def _warm_up(self) -> None:
        """Load what the first document would otherwise wait for."""
        if topology.step_queue("VECTORIZE") in self._queues:
            self._services.embedder.embed_query("warm up")
        if topology.step_queue("EXTRACT_TEXT") in self._queues:
            extract.clear_stale(self._settings.work_dir)
            extract.warm_up(self._services)

    def _end(self, workers: Sequence[threading.Thread]) -> None:
        """Let runs end at their next check; what is not begun or not done goes back to the queues."""
        self._leases.stop_all()
        self._waiting.close()
        for thread in workers:
            thread.join(timeout=_STOP_SECONDS)
        self._broker.close()
        self._flush()
        self._presence.leave()
        self._services.close()
        log.info("worker.stopped")

    def _receive(self, delivery: Delivery) -> None:
        # Later steps come first, so that documents end.
        self._waiting.put(_lane(delivery), self._ranks[delivery.queue], delivery)

    def _work(self) -> None:
        with suppress(Closed):
            while True:
                lane, delivery = self._waiting.get()
                try:
                    if lane == topology.NOTIFICATIONS:
                        self._take_in([delivery, *self._waiting.more(lane, _TOGETHER - 1)])
                    else:
                        self._handle(self._runtime.handle, delivery)
                finally:
                    self._waiting.done(lane)

    def _take_in(self, deliveries: Sequence[Delivery]) -> None:
        try:
            self._ingress.handle([one for one in deliveries if self._broker.is_current(one)])
        except Exception as error:
            log.error("notifications.failed", count=len(deliveries), exc_info=error)
            for delivery in deliveries:  # one of them is at fault
                self._handle(lambda one: self._ingress.handle([one]), delivery)

    def _handle(self, handle: Callable[[Delivery], None], delivery: Delivery) -> None:
        # If its connection broke, it has been, or will be, delivered again.
        if not self._broker.is_current(delivery):
            return
        try:
            handle(delivery)
        except Exception as error:
            log.error("message.failed", queue=delivery.queue, exc_info=error)
            self._bury(delivery, error)

    def _bury(self, delivery: Delivery, error: Exception) -> None:
        cause = BrigadeError(f"{type(error).__name__}: {error}")
        try:
            self._broker.publish([letters.dead(delivery.body, queue=delivery.queue, error=cause)])
        except Unavailable:
            self._broker.requeue(delivery)
        else:
            self._broker.ack(delivery)

    def _mark(self) -> None:
        while not self._stop.wait(_MARK_SECONDS):
            self._flush()

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except Unavailable as error:  # marks only spare a message sent twice
            log.info("outbox.marks_lost", reason=error.message)
        except Exception as error:
            log.error("outbox.marks_lost", exc_info=error)


def _lane(delivery: Delivery) -> str:
    """Whose turn it is with this one. Notifications of whomever are one lane; what is no message is another."""
    if delivery.queue == topology.NOTIFICATIONS:
        return topology.NOTIFICATIONS
    try:
        return decode(delivery.body).lane
    except InvalidMessage:
        return ""


def _names(functions: Sequence[str] | None) -> list[str]:
    """What this worker does, most urgent first: notifications are quick, and later steps let documents end."""
    known = [INGRESS, *reversed(topology.step_names())]
    wanted = {name.upper() for name in functions} if functions else set(known)
    unknown = sorted(wanted - set(known))
    if unknown:
        raise ConfigurationError(f"No such function: {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [name for name in known if name in wanted]


def _queues(names: Sequence[str]) -> list[str]:
    return [topology.NOTIFICATIONS if name == INGRESS else topology.step_queue(name) for name in names]


def main(settings: Settings, functions: Sequence[str] | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    configure_logging(settings.log_format, settings.log_level)
    os.nice(settings.worker_nice)
    worker = Worker(settings, functions)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)
    worker.run()
    if worker.stuck:
        os._exit(1)  # an interpreter that ends waits for threads of its pools
