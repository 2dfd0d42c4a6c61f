"""Thousands of documents dropped at once into one knowledge base: what does another base's single document notice?

It is measured until all were dropped and the first thousand are done, with the rest still waiting: to embed them all
takes the model an hour, and what waits is what weighs.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from router import topology
from tests.bench.corpus import Corpus
from tests.bench.latency import words
from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, percentile, spread, usage_data
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_SEARCHABLE_MS = 5_000
# Of what a process had when a tenth was done, when all is.
_GROWTH = 1.15
_PUTS_AT_ONCE = 8
_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_LONGEST_SECONDS = 60.0
_IDLE_PROBES = 5
_MB = 10**6
_MEASURED = 1000


@dataclass(slots=True)
class Probes:
    """Single documents of another base, one after the other. Milliseconds."""

    announced: list[float] = field(default_factory=list)
    searchable: list[float] = field(default_factory=list)


def measure(system: System, corpus: Corpus, count: int, say: Say) -> Outcome:
    base = system.client.knowledge_bases.create("somebody else's").id
    documents = corpus.one_pagers(count)
    keys = [f"incoming/flood/{number:06}.pdf" for number in range(count)]
    with httpx.Client(trust_env=False, timeout=_LONGEST_SECONDS) as store:
        probe = _Probe(system, store, corpus, base)
        idle, busy = Probes(), Probes()
        for _ in range(_IDLE_PROBES):
            probe.run(idle)
        system.objects.admin  # noqa: B018 - opened once, for all threads
        dropped: list[float] = []
        began = time.time()
        ended = threading.Event()
        with ThreadPoolExecutor(_PUTS_AT_ONCE + 1) as threads:
            probing = threads.submit(_keep_on, lambda: probe.run(busy), ended)
            try:
                puts = [threads.submit(system.put, key, data) for key, data in zip(keys, documents, strict=True)]
                puts[-1].add_done_callback(lambda _: dropped.append(time.time() - began))
                early, late = _watch(system, min(count, _MEASURED), say)
                for put in puts:
                    put.result()
                ended_count = _done(system)
                took = time.time() - began
            finally:
                ended.set()
            probing.result()
    statuses = _statuses(system)
    if sum(statuses.values()) != count or statuses.keys() - {"COMPLETED", "RUNNING"}:
        raise BenchFailed(f"Of {count} documents not all are there, or some have failed: {statuses}.")
    return Outcome(
        f"{count:,} documents dropped at once, and single ones of another base",
        [
            Figure("dropped", round(count / dropped[0], 1), "documents/s"),
            Figure("done", round(ended_count / took, 1), "documents/s"),
            Figure("still waiting in the end", statuses.get("RUNNING", 0)),
            Figure("single documents meanwhile", len(busy.searchable)),
            Figure("PUT's 200 to COMPLETED, idle, p50", round(statistics.median(idle.searchable)), "ms"),
            Figure("the same in the flood, p50", round(statistics.median(busy.searchable)), "ms"),
            Figure("the same, slowest", round(max(busy.searchable)), "ms", at_most=_SEARCHABLE_MS),
            Figure("POST /uploads, idle, p50", round(statistics.median(idle.announced), 1), "ms"),
            Figure("the same in the flood, p50", round(statistics.median(busy.announced), 1), "ms"),
            Figure("the same, p99", round(percentile(busy.announced, 99), 1), "ms"),
            *_growth(early, late),
            Figure("messages in step queues at most", late.messages),
            Figure("notifications waiting at most", late.notifications),
        ],
        {
            "searchable_ms": spread(busy.searchable),
            "announced_ms": spread(busy.announced),
            "early": usage_data(early.usage),
            "late": usage_data(late.usage),
        },
    )


class _Probe:
    def __init__(self, system: System, store: httpx.Client, corpus: Corpus, base: str) -> None:
        self._system, self._store, self._corpus, self._base = system, store, corpus, base
        self._number = 0

    def run(self, probes: Probes) -> None:
        """One document: announced, put, and waited for until it can be searched."""
        self._number += 1
        mark = words(100_000 + self._number)
        data = self._corpus.marked(self._number, mark)
        began = time.monotonic()
        ticket = self._system.client.uploads.announce(f"{mark}.pdf", len(data), "application/pdf", self._base)
        probes.announced.append(1000 * (time.monotonic() - began))
        answer = self._store.put(ticket.url, content=data, headers=ticket.headers)
        if not answer.is_success:
            raise BenchFailed(f"The store refused a PUT: {answer.status_code} {answer.text}")
        put = time.monotonic()
        while time.monotonic() < put + _LONGEST_SECONDS:
            (task,) = self._system.query("SELECT status FROM tasks WHERE id = :task", task=ticket.task_id)
            if task.status == "COMPLETED":
                probes.searchable.append(1000 * (time.monotonic() - put))
                hits = self._system.client.search(mark, knowledge_base=self._base).hits
                if all(hit.document_id != ticket.document_id for hit in hits):
                    raise BenchFailed(f"The document {ticket.document_id} is COMPLETED, and not found.")
                return
            time.sleep(_LOOK_SECONDS)
        task = self._system.client.task(ticket.task_id)
        raise BenchFailed(f"A single document took more than {_LONGEST_SECONDS:.0f} s: {task.waiting_for}")


@dataclass(frozen=True, slots=True)
class _Window:
    """What each process used during a part of the flood, and the longest queues until its end."""

    usage: dict[str, Usage]
    messages: int
    notifications: int


def _watch(system: System, count: int, say: Say) -> tuple[_Window, _Window]:
    """From a tenth of the documents done to two tenths, and the last tenth."""
    depths = [0, 0]

    def until(share: float) -> None:
        while _done(system) < share * count:
            system.check()
            found = system.depths(topology.queue_names())
            depths[1] = max(depths[1], found[topology.NOTIFICATIONS])
            steps = sum(found[topology.step_queue(name)] for name in topology.step_names())
            depths[0] = max(depths[0], steps)
            time.sleep(_PAUSE_SECONDS)
        say(f"{share:.0%} done; at most {depths[0]} messages, {depths[1]} notifications waited")

    windows = []
    for first, last in ((0.1, 0.2), (0.9, 1.0)):
        until(first)
        with system.watch() as watch:
            until(last)
        windows.append(_Window(watch.usage, *depths))
    return windows[0], windows[1]


def _done(system: System) -> int:
    (row,) = system.query("""
        SELECT count(*) AS count FROM tasks JOIN documents ON documents.id = tasks.document_id
        WHERE tasks.status IN ('COMPLETED', 'FAILED') AND documents.object_key LIKE 'incoming/flood/%'
    """)
    return int(row.count)


def _statuses(system: System) -> dict[str, int]:
    rows = system.query("""
        SELECT tasks.status, count(*) AS count FROM tasks JOIN documents ON documents.id = tasks.document_id
        WHERE documents.object_key LIKE 'incoming/flood/%' GROUP BY 1
    """)
    return {row.status: int(row.count) for row in rows}


def _keep_on(what: Callable[[], None], ended: threading.Event) -> None:
    while not ended.wait(_PAUSE_SECONDS):
        what()


def _growth(early: _Window, late: _Window) -> list[Figure]:
    return [
        Figure(
            f"{name}: peak of the last tenth ÷ of the second ({usage.peak_bytes / _MB:.0f} MB)",
            round(usage.peak_bytes / max(early.usage[name].peak_bytes, 1), 2),
            at_most=_GROWTH if name in ("api", "worker", "scheduler") else None,
        )
        for name, usage in sorted(late.usage.items())
        if name in early.usage and name != "bench"
    ]
