"""Does a document cost more when more are in already? The same pages again and again, each time under new keys."""

from __future__ import annotations

import statistics

from tests.bench.corpus import Corpus
from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, peak_figures, usage_data
from tests.bench.system import System
from tests.bench.throughput import Say

_BATCH = 100
_LEVELS = (100, 1_000, 10_000)
# Batches that are measured from each level on.
_MEASURED = 3
# What one machine's noise does to the median of three batches. Growth of any kind would pass it on the way.
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
    costs = {level: statistics.median(seconds[level // _BATCH :][:_MEASURED]) for level in levels}
    first = costs[levels[0]]
    return Outcome(
        "cost as work grows",
        [
            *(
                Figure(f"a document with {level:,} in already", round(1000 * cost, 1), "ms")
                for level, cost in costs.items()
            ),
            Figure(f"at {levels[-1]:,} ÷ at {levels[0]:,}", round(costs[levels[-1]] / first, 3), at_most=_NOISE),
            *peak_figures(usages, {}),
        ],
        {
            "milliseconds_per_document_by_batch": [round(1000 * one, 1) for one in seconds],
            "batch": _BATCH,
            "processes": [usage_data(usage, _BATCH) for usage in usages],
        },
    )
