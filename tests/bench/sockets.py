"""1,000 WebSockets on one API process: what each costs, and how long a change takes from its commit to its client."""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

import msgspec
from sqlalchemy import text
from websockets.asyncio.client import ClientConnection, connect

from tests.bench.corpus import Corpus
from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, percentile, spread
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_P95_MS = 250
_AT_ONCE = 50  # handshakes
_CHANGES = 400
_PAUSE_SECONDS = 0.02
_ROUNDS = 5
_LONGEST_SECONDS = 30.0
_WARM_UPS = 50


class _Step(msgspec.Struct):
    progress: float


class _Task(msgspec.Struct):
    task_id: str
    task_details: list[_Step]


class _Update(msgspec.Struct):
    data: _Task


def measure(system: System, _: Corpus, count: int, say: Say) -> Outcome:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 1000)), hard))
    return asyncio.run(_measure(system, count, say))


async def _measure(system: System, count: int, say: Say) -> Outcome:
    tasks = _make_tasks(system, count)
    async with _Clients(system) as clients:
        await clients.open(tasks[:_WARM_UPS])
    empty = _api(system)
    async with _Clients(system) as clients:
        began = time.monotonic()
        await clients.open(tasks)
        opened = time.monotonic() - began
        held = _api(system)
        each = (held.peak_bytes - empty.peak_bytes) / count
        say(f"{count:,} sockets in {opened:.1f} s, {each / 1000:.1f} kB each")
        with system.watch() as watch:
            chosen = random.Random(1).choices(tasks, k=_CHANGES)
            single = [await clients.change([task], number) for number, task in enumerate(chosen, start=1)]
        cpu = watch.usage["api"].cpu_seconds
        one = [latency for latencies in single for latency in latencies]
        say(f"one of {count:,} tasks changes: p50 {statistics.median(one):.1f} ms, p95 {percentile(one, 95):.1f} ms")
        burst = [await clients.change(tasks, _CHANGES + number) for number in range(1, _ROUNDS + 1)]
        every = [latency for latencies in burst for latency in latencies]
    async with _Clients(system) as clients:
        await clients.open(tasks[:1] * count)
        shared = [await clients.change(tasks[:1], _CHANGES + _ROUNDS + number) for number in range(1, _ROUNDS + 1)]
        all_at_one = [latency for latencies in shared for latency in latencies]
    return Outcome(
        f"{count:,} WebSockets on one API process",
        [
            Figure("memory of the API for each", round(each / 1000, 1), "kB"),
            Figure("opened", round(count / opened), "a second"),
            Figure("p50, commit to client, one task changes", round(statistics.median(one), 1), "ms"),
            Figure("p95", round(percentile(one, 95), 1), "ms", at_most=_P95_MS),
            Figure("CPU of the API", round(1000 * cpu / _CHANGES, 2), "ms a change"),
            Figure("p50, all watch one task", round(statistics.median(all_at_one), 1), "ms"),
            Figure("p95", round(percentile(all_at_one, 95), 1), "ms", at_most=_P95_MS),
            Figure("p50, all tasks change at once", round(statistics.median(every), 1), "ms"),
            Figure("p95", round(percentile(every, 95), 1), "ms"),
        ],
        {
            "api_mb": {"without": round(empty.peak_bytes / 1e6, 1), "with": round(held.peak_bytes / 1e6, 1)},
            "one_ms": spread(one),
            "shared_ms": {name: value for name, value in spread(all_at_one).items() if name != "values"},
            "burst_ms": {name: value for name, value in spread(every).items() if name != "values"},
        },
    )


class _Clients:
    """Sockets that note when each state of their task came; the progress of its last step is the state's number."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stack = AsyncExitStack()
        self._readers: list[asyncio.Task[None]] = []
        self._watchers: dict[str, int] = {}
        self._came: dict[tuple[str, float], list[float]] = {}
        self._awaited: tuple[set[tuple[str, float]], asyncio.Event] = (set(), asyncio.Event())

    async def __aenter__(self) -> _Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)
        await self._stack.aclose()

    async def open(self, tasks: Sequence[str]) -> None:
        """A socket for each, and its first state."""
        gate = asyncio.Semaphore(_AT_ONCE)
        sockets = await asyncio.gather(*(self._one(task, gate) for task in tasks))
        for task, socket in zip(tasks, sockets, strict=True):
            self._watchers[task] = self._watchers.get(task, 0) + 1
            self._readers.append(asyncio.create_task(self._read(socket)))

    async def _one(self, task: str, gate: asyncio.Semaphore) -> ClientConnection:
        async with gate:
            address = f"{self._system.settings.url.replace('http', 'ws', 1)}/ws/tasks/{task}"
            key = self._system.settings.api_key.get_secret_value()
            socket = await self._stack.enter_async_context(
                connect(
                    address, additional_headers={"X-API-Key": key}, compression=None, proxy=None, ping_interval=None
                )
            )
            await asyncio.wait_for(socket.recv(), _LONGEST_SECONDS)
            return socket

    async def _read(self, socket: ClientConnection) -> None:
        decoder = msgspec.json.Decoder(_Update)
        async for message in socket:
            now = time.monotonic()
            task = decoder.decode(message).data
            state = task.task_id, task.task_details[-1].progress
            came = self._came.setdefault(state, [])
            came.append(now)
            missing, done = self._awaited
            if len(came) == self._watchers[task.task_id]:
                missing.discard(state)
                if not missing:
                    done.set()

    async def change(self, tasks: Sequence[str], number: int) -> list[float]:
        """Change these tasks in one transaction; how long after its commit each socket knew, in milliseconds."""
        percent = number / 10
        states = {(task, percent) for task in tasks}
        self._awaited = (set(states), asyncio.Event())
        await asyncio.sleep(_PAUSE_SECONDS)
        committed = await asyncio.to_thread(_commit, self._system, tasks, percent)
        try:
            await asyncio.wait_for(self._awaited[1].wait(), _LONGEST_SECONDS)
        except TimeoutError:
            raise BenchFailed(f"{len(self._awaited[0])} of {len(tasks)} changes did not arrive.") from None
        # It can be here before our own connection has its answer.
        return [max(0.0, 1000 * (came - committed)) for state in states for came in self._came.pop(state)]


def _commit(system: System, tasks: Iterable[str], percent: float) -> float:
    with system.database.transaction() as connection:
        connection.execute(
            text("UPDATE task_details SET progress = :percent WHERE task_id = ANY(:tasks) AND step_order = 7"),
            {"tasks": list(tasks), "percent": percent},
        )
    return time.monotonic()


def _make_tasks(system: System, count: int) -> list[str]:
    """Tasks with the steps of a real one, which nothing works on."""
    ids = [f"bench{number:027}" for number in range(count)]
    with system.database.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
                SELECT id, 'DOCUMENT_UPLOAD', id, 1, 'default', 'admin' FROM unnest(:ids ::text[]) AS id
            """),
            {"ids": ids},
        )
        connection.execute(
            text("""
                INSERT INTO task_details (task_id, step_order, step_name, weight)
                SELECT id, step, 'STEP', 10 FROM unnest(:ids ::text[]) AS id, generate_series(1, 7) AS step
            """),
            {"ids": ids},
        )
    return ids


def _api(system: System) -> Usage:
    """As it is now: the peak since a moment ago."""
    with system.watch() as watch:
        pass
    return watch.usage["api"]
