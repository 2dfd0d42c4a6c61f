"""The scheduler process: ticks. Several may run; each job is done by one of them at a time.

The relay and the sweep have threads of their own: what the others wait for, a store or Milvus, may be away for long,
and a large bucket takes minutes.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import structlog
from prometheus_client import start_http_server

from common.errors import Unavailable
from common.services import Services
from common.settings import Settings
from common.telemetry import configure_logging
from functions.schedule.empty import empty
from functions.schedule.expire import expire
from functions.schedule.flush import flush
from functions.schedule.sweep import sweep, sweep_quickly
from functions.schedule.tidy import tidy
from router.broker import PikaBroker
from router.outbox import Outbox
from router.table import PIPELINES, watches

log = structlog.get_logger()

_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    every_seconds: float
    run: Callable[[], object]
    locks: bool = False  # itself, so that several schedulers do not do the same


class Scheduler:
    def __init__(self, settings: Settings) -> None:
        self._services = Services(settings)
        self._stop = threading.Event()
        self._broker = PikaBroker(settings.amqp_url.get_secret_value(), timeout_seconds=settings.server_timeout_seconds)
        outbox = Outbox(
            self._services.database, self._broker, lane_runs=settings.lane_runs, failpoints=self._services.failpoints
        )

        def relay() -> int:
            return outbox.relay(
                unsent_seconds=settings.outbox_seconds,
                vanished_seconds=settings.vanished_seconds,
                lost_seconds=settings.lost_seconds,
            )

        self._relay = Job("relay", settings.outbox_seconds, relay)

        def swept(do: Callable[..., object]) -> Callable[[], object]:
            return lambda: do(self._services, watches(), send=outbox.send_now)

        # It asks Postgres whether one is due.
        tick = min(settings.sweep_seconds, settings.sweep_quick_seconds)
        self._sweep = Job("sweep", tick, swept(sweep), locks=True)
        self._jobs = [
            Job("sweep_quickly", settings.sweep_quick_seconds, swept(sweep_quickly), locks=True),
            Job("flush", settings.index_flush_seconds, lambda: flush(self._services)),
            Job("expire", settings.expire_seconds, lambda: expire(self._services, PIPELINES)),
            Job("empty", settings.tidy_seconds, lambda: empty(self._services, PIPELINES["DOCUMENT_DELETE"])),
            Job("tidy", settings.tidy_seconds, lambda: tidy(self._services)),
        ]

    def run(self) -> None:
        """Tick until `stop` is called."""
        self._broker.start()
        alone = [
            threading.Thread(target=self._keep, args=([job],), name=job.name, daemon=True)
            for job in (self._relay, self._sweep)
        ]
        for thread in alone:
            thread.start()
        log.info("scheduler.started", jobs=[job.name for job in (self._relay, self._sweep, *self._jobs)])
        self._keep(self._jobs)
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in alone:
            thread.join(timeout=max(0, deadline - time.monotonic()))
        self._broker.close()
        self._services.close()
        log.info("scheduler.stopped")

    def stop(self) -> None:
        self._stop.set()

    def _keep(self, jobs: Sequence[Job]) -> None:
        """Do each of these jobs, one at a time, whenever it is due."""
        due = {job.name: time.monotonic() + job.every_seconds for job in jobs}
        while True:
            job = min(jobs, key=lambda job: due[job.name])
            if self._stop.wait(max(0, due[job.name] - time.monotonic())):
                return
            self._tick(job)
            due[job.name] = time.monotonic() + job.every_seconds

    def _tick(self, job: Job) -> None:
        try:
            with nullcontext() if job.locks else self._services.database.exclusive(f"scheduler:{job.name}"):
                job.run()
        except Unavailable as error:
            log.warning("scheduler.job_put_off", job=job.name, reason=error.message)
        except Exception as error:
            log.error("scheduler.job_failed", job=job.name, exc_info=error)


def main(settings: Settings) -> None:
    """Run the scheduler until SIGTERM or SIGINT."""
    configure_logging(settings.log_format, settings.log_level)
    scheduler = Scheduler(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)
    scheduler.run()
