"""Bare loop, chain, bare loop on the same documents: a slower minute of the machine meets both, or shows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from tests.bench.bare_loop import BareLoop
from tests.bench.report import Figure, Outcome, cpu_seconds, peak_figures, spread, usage_data
from tests.bench.system import System

Say = Callable[[str], None]


def compare(
    system: System,
    name: str,
    documents: Sequence[bytes],
    *,
    warm_up: bytes,
    at_least: float,
    worker_mb: float | None = None,
    say: Say,
) -> Outcome:
    """`warm_up` opens the jail and every connection first. The two bare loops count by their mean."""
    with BareLoop(system) as bare:
        system.ingest([warm_up])
        bare.run([warm_up])
        before = bare.run(documents)
        say(f"bare loop {before[0].seconds:.1f} s")
        with system.watch() as watch:
            run = system.ingest(documents)
        say(f"chain     {run.seconds:.1f} s")
        after = bare.run(documents)
        say(f"bare loop {after[0].seconds:.1f} s")
    loops = (before, after)
    pages = before[0].pages
    chain_rate = pages / run.seconds
    bare_rates = [pages / loop.seconds for loop, _ in loops]
    bare_rate = statistics.mean(bare_rates)
    return Outcome(
        name,
        [
            Figure("chain ÷ bare loop, pages/s", round(chain_rate / bare_rate, 3), at_least=at_least),
            Figure("chain", round(chain_rate, 1), "pages/s"),
            Figure("bare loop", round(bare_rate, 1), "pages/s"),
            # The same question asked of the processors: a busy machine blurs seconds more than CPU time.
            Figure(
                "CPU time, chain ÷ bare loop",
                round(cpu_seconds(watch.usage) / statistics.mean(cpu_seconds(usage) for _, usage in loops), 2),
            ),
            *peak_figures([watch.usage], {"worker": worker_mb}),
        ],
        {
            "documents": len(documents),
            "pages": pages,
            "chunks": before[0].chunks,
            "bare": {
                "pages_per_second": spread(bare_rates),
                "seconds_by_step": [loop.steps for loop, _ in loops],
                "processes": [usage_data(usage, len(documents)) for _, usage in loops],
            },
            "chain": {
                "pages_per_second": round(chain_rate, 4),
                "processes": usage_data(watch.usage, len(documents)),
            },
        },
    )
