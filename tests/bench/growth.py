"""Does a document cost more when more are in already? The same pages again and again, each time under new keys."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.corpus import Corpus
from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, cpu_seconds, peak_figures, usage_data
from tests.bench.system import System
from tests.bench.throughput import Say

_BATCH = 100
_LEVELS = (100, 1_000, 10_000)
# Batches that are measured from each level on.
_MEASURED = 2
# What one machine's noise does to the median of two batches. Growth of any kind would pass it on the way.
_NOISE = 1.1


def measure(system: System, corpus: Corpus, documents: int, say: Say) -> Outcome:
    """Fill up to `documents`, in batches, and compare what a document takes at 100, at 1,000 and so on."""
    levels = sorted({level for level in _LEVELS if level < documents} | {documents})
    seconds: list[float] = []
    usages: list[dict[str, Usage]] = []
    while len(seconds) * _BATCH < levels[-1] + _MEASURED * _BATCH:
        with system.watch() as watch:
            batch = corpus.one_pagers(_BATCH, edition=len(seconds))
            seconds.append(system.ingest(batch).seconds / _BATCH)
        usages.append(watch.usage)
        say(f"{len(seconds) * _BATCH:,} in: {1000 * seconds[-1]:.0f} ms a document")
    costs = {level: _at(level, seconds) for level in levels}
    # Told beside it because a busy machine blurs seconds more.
    cpu = {level: _at(level, list(map(cpu_seconds, usages))) for level in levels}
    first, last = levels[0], levels[-1]
    return Outcome(
        "cost as work grows",
        [
            *(
                Figure(f"a document with {level:,} in already", round(1000 * cost, 1), "ms")
                for level, cost in costs.items()
            ),
            Figure(f"at {last:,} ÷ at {first:,}", round(costs[last] / costs[first], 3), at_most=_NOISE),
            Figure(f"CPU time, at {last:,} ÷ at {first:,}", round(cpu[last] / cpu[first], 3)),
            *peak_figures(usages, {}),
        ],
        {
            "milliseconds_per_document_by_batch": [round(1000 * one, 1) for one in seconds],
            "batch": _BATCH,
            "processes": [usage_data(usage, _BATCH) for usage in usages],
        },
    )


def _at(level: int, batches: Sequence[float]) -> float:
    return statistics.median(batches[level // _BATCH :][:_MEASURED])
