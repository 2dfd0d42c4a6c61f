"""The one place where correctness lives: claim -> run -> finish -> publish -> ack.

For each delivery of a step's message:

1. Claim, one transaction: the step is RUNNING, with an owner and a lease. If it has ended, send again what follows it
   and ack; if somebody live holds it, come back later.
2. Run the function outside any transaction, its lease renewed meanwhile. Artifacts have deterministic keys.
3. Finish, one transaction guarded by ownership: the step is COMPLETED, the next is ready, and whose turn it is now is
   admitted, which is the outbox entry.
4. Publish, with confirms and mandatory. 5. Ack the delivery, never before.

A crash anywhere is answered by redelivery or by the relay of router/outbox.py, and neither changes what is done.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from common import artifacts, dead_letters, lanes, steps, tasks, tidying
from common.artifacts import Written
from common.context import Context
from common.dead_letters import Letter
from common.errors import BrigadeError, InvalidMessage, LeaseLost, Rejected, Retryable, Stopped, Unavailable
from common.failpoints import Failpoints
from common.lanes import Due
from common.pipelines import Pipeline, Step
from common.services import Services
from common.steps import Busy, Claim, Ended, StepRef
from common.telemetry import STEP_SECONDS, STEPS
from router import letters, topology
from router.broker import Broker, Delivery, Publication
from router.leases import Leases, Run, ShuttingDown
from router.message import Message, decode
from router.outbox import Outbox
from router.signatures import signature_of
from router.table import PIPELINES

log = structlog.get_logger()

# While a server is away, what needs it looks for it so often.
_OUTAGE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Job:
    message: Message
    pipeline: Pipeline
    step: Step


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """What is to be published before the delivery may be acked."""

    steps: Sequence[Due] = ()
    letters: Sequence[Publication] = ()
    kept: Sequence[StepRef] = ()  # runs that keep their place, of which one of the letters tells


class Runtime:
    def __init__(
        self,
        services: Services,
        broker: Broker,
        *,
        owner: str,
        leases: Leases,
        outbox: Outbox,
        pipelines: dict[str, Pipeline] = PIPELINES,
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._database = services.database
        self._broker = broker
        self._owner = owner
        self._leases = leases
        self._outbox = outbox
        self._pipelines = pipelines
        self._numbers = itertools.count(1)
        self._failpoints = Failpoints(services.settings.failpoints)

    def handle(self, delivery: Delivery) -> None:
        """Do what the delivery asks for, and ack it when that is safe."""
        try:
            self._handle(delivery)
        except ShuttingDown:
            return  # unacked, so it is another's as soon as this connection ends
        except Unavailable as error:
            log.warning("message.put_off", queue=delivery.queue, reason=error.message)
            put_off(self._broker, delivery)
        else:
            self._broker.ack(delivery)
            self._failpoints.reach("after_ack", delivery.key)

    def _handle(self, delivery: Delivery) -> None:
        try:
            job = self._job(delivery)
        except InvalidMessage as error:
            log.error("message.invalid", queue=delivery.queue, reason=error.message)
            self._broker.publish([letters.dead(delivery.body, queue=delivery.queue, error=error)])
            return
        with structlog.contextvars.bound_contextvars(task=job.message.task_id, step=job.step.name):
            outgoing = self._work(job)
            self._outbox.send(outgoing.steps, outgoing.letters, outgoing.kept)
            self._failpoints.reach("after_publish", job.step.name)

    def _job(self, delivery: Delivery) -> _Job:
        message = decode(delivery.body)
        pipeline = self._pipelines.get(message.pipeline)
        step = next((one for one in pipeline.steps if one.name == message.step), None) if pipeline else None
        if pipeline is None or step is None or step.function is None:
            raise InvalidMessage(f"The table has no function for {message.step} in a pipeline {message.pipeline}.")
        return _Job(message, pipeline, step)

    def _work(self, job: _Job) -> _Outgoing:
        ref = job.message.ref
        with self._database.transaction() as connection:
            owner = f"{self._owner}/{next(self._numbers)}"  # of this run alone, not of any later one of this worker's
            claim = steps.claim(connection, ref, owner=owner, lease_seconds=self._settings.lease_seconds)
            if isinstance(claim, Ended):
                return _Outgoing(lanes.following(connection, ref, at_least=self._settings.lane_runs))
        match claim:
            case Busy(seconds):
                return _Outgoing(letters=[letters.later(job.message, seconds)])
            case Claim():
                self._failpoints.reach("after_claim", job.step.name)
                return self._run(job, claim)

    def _run(self, job: _Job, claim: Claim) -> _Outgoing:
        """Run the claimed step and write down how it ended."""
        started = time.monotonic()
        details: dict[str, Any] = {}
        outcome, outgoing = "interrupted", _Outgoing()  # what stays of it if not even its end can be written down
        try:
            if claim.attempt > self._settings.max_attempts:
                raise BrigadeError(f"The worker died in each of {claim.attempt - 1} runs.", code="WORKER_DIED")
            with self._leases.hold(claim, job.step.timeout_seconds) as run:
                written = self._call(job, claim, run, details)
            self._failpoints.reach("after_run", job.step.name)
            outgoing = self._finish(job, claim, written, details)
            outcome = "completed"
        except ShuttingDown:
            outcome = "released"
            self._release(claim)
            raise
        except LeaseLost:
            outcome, outgoing = "lease_lost", self._leave(claim)
        except Stopped as error:
            outcome, outgoing = "stopped", self._stop(claim, error)
        except Rejected as error:
            outcome, outgoing = "rejected", self._fail(claim, error, details)
        except Exception as error:  # noqa: BLE001 - the runtime's one boundary: whatever a function raises ends here
            outcome, outgoing = self._retry_or_fail(job, claim, error, details)
        finally:
            seconds = time.monotonic() - started
            STEPS.labels(job.step.name, outcome).inc()
            STEP_SECONDS.labels(job.step.name).observe(seconds)
            log.info(
                "step.ended", outcome=outcome, batch=claim.ref.batch, attempt=claim.attempt, ms=round(seconds * 1000)
            )
        return outgoing

    def _call(self, job: _Job, claim: Claim, run: Run, details: dict[str, Any]) -> Written | None:
        """Call the function with its input decoded; write what it returns as the step's artifact."""
        assert job.step.function is not None
        contract = signature_of(job.step.function)
        context = Context(
            target=claim.target,
            services=self._services,
            details=details,
            on_progress=run.progress,
            on_check=run.check,
        )
        arguments: list[Any] = []
        if contract.takes.record is not None:
            records = _watched(artifacts.read(self._services.objects, claim.inputs, contract.takes.record), run)
            arguments.append(records if contract.takes.stream else next(records))
        result = job.step.function(context, *arguments)
        if result is None:
            return None
        return artifacts.write(
            self._services.objects,
            artifacts.key_of(claim.ref.task_id, job.step.name, claim.ref.batch),
            _watched(result, run) if contract.makes.stream else [result],
            inline_bytes=self._settings.inline_artifact_bytes,
            spool_dir=str(self._settings.work_dir),
            # For the next step that works in shares, if there is one.
            cut_records=next((step.batch for step in _after(job) if step.batch), None),
            check=run.check,
        )

    def _finish(self, job: _Job, claim: Claim, written: Written | None, details: dict[str, Any]) -> _Outgoing:
        share_out = any(step.batch for step in job.pipeline.steps if step.name == claim.following)
        with self._database.transaction() as connection:
            ready = steps.finish(connection, claim, share_out=share_out, details=details, written=written)
            due = self._outbox.admit(connection, [claim.ref, *ready]) if ready is not None else []
        if ready is None:
            raise LeaseLost
        self._failpoints.reach("after_finish", job.step.name)
        return _Outgoing(due)

    def _leave(self, claim: Claim) -> _Outgoing:
        """The run is another's now, or its task has ended: then what it may have written since is cleared once more,
        and the next of its lane is due. The same goes for one that has failed, and finds that it was lost."""
        with self._database.transaction() as connection:
            tidying.untidy(connection, claim.ref.task_id)
            return _Outgoing(self._outbox.admit(connection, [claim.ref]))

    def _stop(self, claim: Claim, error: Stopped) -> _Outgoing:
        """The function found that its task has no point any more."""
        with self._database.transaction() as connection:
            tasks.cancel(connection, [claim.ref.task_id], code=error.code, message=error.message)
            return _Outgoing(self._outbox.admit(connection, [claim.ref]))

    def _release(self, claim: Claim) -> None:
        with self._database.transaction() as connection:
            steps.release(connection, claim)

    def _fail(
        self, claim: Claim, error: BrigadeError, details: dict[str, Any], letter: Letter | None = None
    ) -> _Outgoing:
        """`letter`: what is kept of it, unless the step was no longer ours."""
        with self._database.transaction() as connection:
            ours = steps.fail(connection, claim, code=error.code, message=error.message, details=details)
            if letter and ours:
                dead_letters.keep(connection, letter)
            if not ours:
                tidying.untidy(connection, claim.ref.task_id)
            return _Outgoing(self._outbox.admit(connection, [claim.ref]))

    def _retry_or_fail(
        self, job: _Job, claim: Claim, error: Exception, details: dict[str, Any]
    ) -> tuple[str, _Outgoing]:
        """Up the ladder while attempts are left; then the step fails, and its message is kept with the cause."""
        # Whatever a library says can name hosts, paths and statements: clients read its kind, and no more.
        known = (
            error
            if isinstance(error, BrigadeError)
            else BrigadeError(f"{job.step.name} met a fault in the server ({type(error).__name__}), which is logged.")
        )
        if not isinstance(error, Retryable):
            log.error("step.raised", exc_info=error)
        # A server that is away is nobody's fault, and may be away for long: it uses up no attempt.
        counted = not isinstance(error, Unavailable)
        if isinstance(error, Unavailable):
            log.warning("step.put_off", reason=error.message)
            known = BrigadeError(error.told, code=error.code)
        if claim.attempt < self._settings.max_attempts or not counted:
            seconds = _delay(claim.attempt) if counted else _OUTAGE_SECONDS
            with self._database.transaction() as connection:
                ours = steps.retry_later(
                    connection, claim, seconds=seconds, code=known.code, message=known.message, counted=counted
                )
                if not ours:
                    tidying.untidy(connection, claim.ref.task_id)
                due = self._outbox.admit(connection, [claim.ref])
            if not ours:
                return "retried", _Outgoing(due)
            return "retried", _Outgoing(due, [letters.later(job.message, seconds)], kept=[] if counted else [claim.ref])
        cause = error if isinstance(error, BrigadeError) else BrigadeError(f"{type(error).__name__}: {error}")
        return "failed", self._fail(claim, known, details, letters.of_step(job.message, cause))


def _watched(records: Iterable[Any], run: Run) -> Iterator[Any]:
    """The records, as long as there is a point in going on."""
    for record in records:
        run.check()
        yield record


def _after(job: _Job) -> Sequence[Step]:
    return job.pipeline.steps[job.pipeline.steps.index(job.step) + 1 :]


def put_off(broker: Broker, delivery: Delivery) -> None:
    """Something it needs is down: the delivery waits on the ladder, or, if even that fails, on its queue."""
    try:
        broker.publish([letters.put_off(delivery, _OUTAGE_SECONDS)])
    except Unavailable:
        broker.requeue(delivery)
    else:
        broker.ack(delivery)


def _delay(attempt: int) -> float:
    """The rung for this attempt, or now and then the one below, so that many that failed together spread out."""
    index = min(attempt, len(topology.LADDER_SECONDS)) - 1
    lower = max(index - 1, 0)
    return topology.LADDER_SECONDS[random.choices((index, lower), weights=(3, 1))[0]]  # noqa: S311
