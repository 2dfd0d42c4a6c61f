"""Chain against bare loop on the same documents, in turn, so that a slower minute of the machine meets both."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.bare_loop import BareLoop, Loop
from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, peak_figures, spread, usage_data
from tests.bench.system import System

Say = Callable[[str], None]


def compare(
    system: System,
    name: str,
    documents: Sequence[bytes],
    *,
    warm_up: bytes,
    rounds: int,
    at_least: float,
    worker_mb: float | None = None,
    say: Say,
) -> Outcome:
    """Bare, chain, bare, chain …, bare. The ratio is that of the medians of pages per second."""
    loops: list[tuple[Loop, dict[str, Usage]]] = []
    chains: list[tuple[float, dict[str, Usage]]] = []
    with BareLoop(system) as bare:
        # The jail and every connection are opened by the first document.
        system.ingest([warm_up])
        bare.run([warm_up])
        for number in range(2 * rounds + 1):
            if number % 2:
                with system.watch() as watch:
                    run = system.ingest(documents)
                chains.append((run.seconds, watch.usage))
                say(f"chain: {run.seconds:.1f} s")
            else:
                loops.append(bare.run(documents))
                say(f"bare:  {loops[-1][0].seconds:.1f} s")
    pages = loops[0][0].pages
    bare_rates = [pages / loop.seconds for loop, _ in loops]
    chain_rates = [pages / seconds for seconds, _ in chains]
    ratio = statistics.median(chain_rates) / statistics.median(bare_rates)
    return Outcome(
        name,
        [
            Figure("chain ÷ bare loop, pages/s", round(ratio, 3), at_least=at_least),
            Figure("chain", round(statistics.median(chain_rates), 1), "pages/s"),
            Figure("bare loop", round(statistics.median(bare_rates), 1), "pages/s"),
            # The same question asked of the processors: a busy machine blurs seconds more than CPU time.
            Figure("CPU time, chain ÷ bare loop", round(_cpu(chains) / _cpu(loops), 2)),
            *peak_figures([usage for _, usage in chains], {"worker": worker_mb}),
        ],
        _data(len(documents), loops, chains, bare_rates, chain_rates),
    )


def _cpu(runs: Sequence[tuple[object, dict[str, Usage]]]) -> float:
    """Seconds of all processes that were measured, in the median run."""
    return statistics.median(
        sum(one.cpu_seconds for name, one in usage.items() if name != "bench") for _, usage in runs
    )


def _data(
    documents: int,
    loops: Sequence[tuple[Loop, dict[str, Usage]]],
    chains: Sequence[tuple[float, dict[str, Usage]]],
    bare_rates: Sequence[float],
    chain_rates: Sequence[float],
) -> dict[str, Any]:
    first = loops[0][0]
    return {
        "documents": documents,
        "pages": first.pages,
        "chunks": first.chunks,
        "bare": {
            "pages_per_second": spread(bare_rates),
            "seconds_by_step": [loop.steps for loop, _ in loops],
            "processes": [usage_data(usage, documents) for _, usage in loops],
        },
        "chain": {
            "pages_per_second": spread(chain_rates),
            "processes": [usage_data(usage, documents) for _, usage in chains],
        },
    }
