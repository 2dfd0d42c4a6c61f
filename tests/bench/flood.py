"""Many one-page documents dropped at once: what does a document cost beside its pages, and is anything left over?"""

from __future__ import annotations

from router import topology
from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome
from tests.bench.system import System
from tests.bench.throughput import Say, compare

_RATIO = 0.5


def measure(system: System, corpus: Corpus, count: int, say: Say) -> Outcome:
    documents = corpus.one_pagers(count)
    outcome = compare(
        system,
        f"flood of {count} one-page documents",
        documents,
        warm_up=documents[0],
        at_least=_RATIO,
        say=say,
    )
    depths = system.drain()
    open_tasks = system.query("SELECT count(*) AS count FROM tasks WHERE status <> 'COMPLETED'")[0].count
    retries = {topology.rung(seconds) for seconds in topology.LADDER_SECONDS}
    dead = depths.pop(topology.DEAD) + system.query("SELECT count(*) AS count FROM dead_letters")[0].count
    outcome.figures += [
        Figure("messages left in work queues", sum(n for name, n in depths.items() if name not in retries), at_most=0),
        Figure("messages left in retry queues", sum(depths[name] for name in retries), at_most=0),
        Figure("messages given up on", dead, at_most=0),
        Figure("tasks not COMPLETED", open_tasks, at_most=0),
    ]
    outcome.data["queues"] = depths | {topology.DEAD: dead}
    return outcome
