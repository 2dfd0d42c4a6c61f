"""The scheduler process: ticks. Several may run; each job is done by one of them at a time.

The relay, the sweep, what can take minutes, and who keeps dead letters have threads of their own: what the others wait
for, a store or Milvus, may be away for long. Nothing here works on documents, so no message can end this process.
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
from functions.schedule.compare import audit
from functions.schedule.empty import empty
from functions.schedule.expire import expire
from functions.schedule.flush import flush
from functions.schedule.forget import forget
from functions.schedule.reindex import reindex
from functions.schedule.sweep import sweep, sweep_quickly
from functions.schedule.tidy import tidy, trim
from router.broker import PikaBroker
from router.outbox import Outbox
from router.table import PIPELINES, watches
from router.undertaker import PREFETCH, Undertaker

log = structlog.get_logger()

_STOP_SECONDS = 10.0
# Of five threads each holds a lock and works beside it, and the audit asks again while it compares.
_CONNECTIONS = 12
# Between two looks whether a job is due that is done more seldom.
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    every_seconds: float
    run: Callable[[], object]
    locks: bool = False  # itself, so that several schedulers do not do the same


class Scheduler:
    def __init__(self, settings: Settings) -> None:
        self._services = Services(settings, connections=_CONNECTIONS)
        self._stop = threading.Event()
        self._undertaker = Undertaker(self._services.database)
        self._broker = PikaBroker(
            settings.amqp_url.get_secret_value(),
            timeout_seconds=settings.server_timeout_seconds,
            prefetch=PREFETCH,
            on_delivery=self._undertaker.receive,
        )
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
            Job("reindex", settings.reindex_seconds, lambda: reindex(self._services, PIPELINES["DOCUMENT_UPLOAD"])),
            Job("forget", settings.tidy_seconds, lambda: forget(self._services)),
        ]
        self._slow = [
            Job("tidy", settings.tidy_seconds, lambda: tidy(self._services)),
            Job("trim", settings.tidy_seconds, lambda: trim(self._services)),
        ]
        if settings.audit_seconds:
            # Whether it is due is asked this often.
            every = min(settings.audit_seconds, _MOST_SECONDS)
            self._slow.append(Job("audit", every, lambda: audit(self._services, PIPELINES)))

    def run(self) -> None:
        """Tick until `stop` is called."""
        self._broker.start()
        alone = [
            threading.Thread(target=self._keep, args=(jobs,), name=jobs[0].name, daemon=True)
            for jobs in ([self._relay], [self._sweep], self._slow)
        ]
        alone.append(
            threading.Thread(
                target=self._undertaker.keep, args=(self._broker, self._stop), name="undertaker", daemon=True
            )
        )
        for thread in alone:
            thread.start()
        names = [job.name for job in (self._relay, self._sweep, *self._jobs, *self._slow)]
        log.info("scheduler.started", jobs=names)
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
