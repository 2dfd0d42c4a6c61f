"""One page into an idle system: from the PUT's 200 to the first search that finds its text."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence

import httpx

from deploy.client import Ticket
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, peak_figures, percentile, spread, usage_data
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_P50_MS = 250
# Between two looks. A search takes 25 ms of a core, so asking all the time would take half the machine from what is
# asked about: until the task is COMPLETED, before which no search shows it, only its row is looked at (0.3 ms).
_LOOK_SECONDS = 0.003
_LONGEST_SECONDS = 30.0
# The system is idle again when the store's safe lane, which tells everything again within 3 s, has been heard; that
# costs 10 ms, so waiting for it each time would only cost patience.
_PAUSE_SECONDS = 0.2
_WARM_UPS = 3


def measure(system: System, corpus: Corpus, count: int, say: Say) -> Outcome:
    with httpx.Client(trust_env=False, timeout=_LONGEST_SECONDS) as store:
        for number in range(_WARM_UPS):
            _one(system, store, corpus, number)
        with system.watch() as watch:
            runs = []
            for number in range(_WARM_UPS, _WARM_UPS + count):
                runs.append(_one(system, store, corpus, number))
                time.sleep(_PAUSE_SECONDS)
    totals = [run["total"] for run in runs]
    p50, p95 = statistics.median(totals), percentile(totals, 95)
    say(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    return Outcome(
        f"latency of one page, {count} times",
        [
            Figure("p50, PUT's 200 to first hit", round(p50, 1), "ms", at_most=_P50_MS),
            Figure("p95", round(p95, 1), "ms"),
            Figure("p50, PUT's 200 to task COMPLETED", _median(runs, "completed"), "ms"),
            Figure("p50 of one search", _median(runs, "search"), "ms"),
            *peak_figures([watch.usage], {}),
        ],
        {
            "milliseconds": {name: spread([run[name] for run in runs]) for name in runs[0]},
            "processes": usage_data(watch.usage, count),
        },
    )


def _one(system: System, store: httpx.Client, corpus: Corpus, number: int) -> dict[str, float]:
    """Milliseconds by part of the way."""
    mark = words(number)
    data = corpus.marked(number, mark)
    ticket = system.client.announce(f"latency-{number}.pdf", len(data), "application/pdf")
    answer = store.put(ticket.url, content=data, headers=ticket.headers)
    put = time.time()
    if not answer.is_success:
        raise BenchFailed(f"The store refused a PUT: {answer.status_code} {answer.text}")
    searches, found = _await_hit(system, ticket, mark)
    return {
        "total": 1000 * (found - put),
        "search": 1000 * searches[-1],
        "searches": len(searches),
        **_parts(system, ticket, put, found),
    }


def words(number: int) -> str:
    """Three words that no other page has: with a sentence around them all pages would answer it."""
    chosen = random.Random(number)
    return " ".join("".join(chosen.choice("bdfgklmnprstvz") + chosen.choice("aeiou") for _ in range(4)) for _ in "123")


def _await_hit(system: System, ticket: Ticket, mark: str) -> tuple[list[float], float]:
    """How long each search took, and when the first that found the document had its answer."""
    searches = []
    deadline = time.time() + _LONGEST_SECONDS
    while time.time() < deadline and not _completed(system, ticket):
        time.sleep(_LOOK_SECONDS)
    while time.time() < deadline:
        began = time.time()
        hits = system.client.search(mark).hits
        searches.append(time.time() - began)
        if any(hit.document_id == ticket.document_id and mark in hit.text for hit in hits):
            return searches, time.time()
        system.check()
        time.sleep(_LOOK_SECONDS)
    task = system.client.task(ticket.task_id)
    raise BenchFailed(f"The page was not found within {_LONGEST_SECONDS:.0f} s; its task: {task.status} {task.reason}")


def _completed(system: System, ticket: Ticket) -> bool:
    (task,) = system.query("SELECT status FROM tasks WHERE id = :task", task=ticket.task_id)
    return bool(task.status == "COMPLETED")


def _parts(system: System, ticket: Ticket, put: float, found: float) -> dict[str, float]:
    """Where the time went: the notification, each step's wait for a worker and its run, and until a search saw it."""
    rows = system.query(
        """
        SELECT step.step_name, extract(epoch FROM task.started_at) ::float AS task_started,
            extract(epoch FROM task.completed_at) ::float AS task_completed,
            extract(epoch FROM step.ready_at) ::float AS ready, extract(epoch FROM step.started_at) ::float AS started,
            extract(epoch FROM step.completed_at) ::float AS completed
        FROM task_details AS step JOIN tasks AS task ON task.id = step.task_id
        WHERE task.id = :task AND step.ready_at IS NOT NULL ORDER BY step.step_order, step.batch
        """,
        task=ticket.task_id,
    )
    parts: dict[str, float] = {"notification": rows[0].task_started - put}
    for row in rows:
        _add(parts, f"{row.step_name} wait", row.started - row.ready)
        _add(parts, f"{row.step_name} run", row.completed - row.started)
    parts["completed"] = rows[0].task_completed - put
    parts["seen"] = found - rows[0].task_completed
    return {name: 1000 * seconds for name, seconds in parts.items()}


def _add(parts: dict[str, float], name: str, seconds: float) -> None:
    """A one-page document has one batch, or rarely two, which run side by side: the longer counts."""
    parts[name] = max(parts.get(name, 0.0), seconds)


def _median(runs: Sequence[Mapping[str, float]], name: str) -> float:
    return round(statistics.median([run[name] for run in runs]), 1)
