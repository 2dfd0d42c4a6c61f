"""`make bench`: every target of the chain, measured on this machine. `python -m tests.bench --help` has the options."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from common.errors import BrigadeError
from deploy.local import environment
from tests.bench import (
    big_uploads,
    extraction,
    flood,
    growth,
    latency,
    long_pdfs,
    long_text,
    ocr,
    overload,
    report,
    retrieval,
    search,
    sockets,
    splitting,
    streamed,
    sweep,
    uploads,
)
from tests.bench.corpus import Corpus
from tests.bench.report import Outcome
from tests.bench.system import System

Measure = Callable[[System, Corpus, argparse.Namespace, Callable[[str], None]], Outcome]

_MEASURES: dict[str, Measure] = {
    "long-pdfs": lambda system, corpus, _, say: long_pdfs.measure(system, corpus, say),
    "flood": lambda system, corpus, options, say: flood.measure(system, corpus, options.flood, say),
    "overload": lambda system, corpus, options, say: overload.measure(system, corpus, options.overload, say),
    "latency": lambda system, corpus, options, say: latency.measure(system, corpus, options.latency, say),
    "growth": lambda system, corpus, options, say: growth.measure(system, corpus, options.documents, say),
    "retrieval": lambda system, corpus, _, say: retrieval.measure(system, corpus, say),
    "search": lambda system, corpus, options, say: search.measure(system, corpus, options.chunks, say),
    "sweep": lambda system, corpus, options, say: sweep.measure(system, corpus, options.objects, say),
    "uploads": lambda system, corpus, _, say: uploads.measure(system, corpus, say),
    "sockets": lambda system, corpus, options, say: sockets.measure(system, corpus, options.sockets, say),
    "streamed": lambda system, corpus, options, say: streamed.measure(system, corpus, options.file_mb, say),
    "big-uploads": lambda system, corpus, options, say: big_uploads.measure(
        system, corpus, options.big_uploads, options.file_mb, say
    ),
    "long-text": lambda system, corpus, options, say: long_text.measure(system, corpus, options.text_mb, say),
}
# What needs no servers: these would only take CPU from it.
_ALONE: dict[str, Callable[[Corpus, Callable[[str], None]], Outcome]] = {
    "extraction": extraction.measure,
    "split": splitting.measure,
    "ocr": ocr.measure,
}
_NAMES = (*_MEASURES, *_ALONE)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every target is met. 1: one is not, or could not be measured."""
    directory = environment.directory() / "bench"
    options = _options(directory / "result.json", arguments)
    console = Console()
    if not Path("/proc/self/clear_refs").exists():
        console.print("The bench reads memory and CPU time from /proc, which only Linux has.")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    facts = {"started_at": datetime.now(UTC), "load_before": os.getloadavg()}
    began = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        # One that fails leaves what was measured before it.
        outcomes.extend(_measure(name, Corpus(directory), options, console) for name in options.only)
    except BrigadeError as error:
        console.print(f"[bold red]Error:[/] {error.message}", highlight=False)
        return 1
    finally:
        if outcomes:
            report.write(options.json, outcomes, **facts, load_after=os.getloadavg())
            report.show(outcomes, console)
            console.print(f"{time.monotonic() - began:.0f} s; all of it: {options.json}", highlight=False)
    return int(any(figure.met is False for outcome in outcomes for figure in outcome.figures))


def _measure(name: str, corpus: Corpus, options: argparse.Namespace, console: Console) -> Outcome:
    """Each measurement has a system of its own, so that none depends on what was measured before."""

    def say(what: str) -> None:
        console.print(f"{name:10} {what}", highlight=False)

    if name in _ALONE:
        return _ALONE[name](corpus, say)
    with System(say) as system:
        return _MEASURES[name](system, corpus, options, say)


def _options(json: Path, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=_NAMES, default=list(_NAMES), help="which")
    parser.add_argument("--flood", type=int, metavar="N", default=300, help="one-page documents dropped at once")
    parser.add_argument("--overload", type=int, metavar="N", default=1000, help="documents in one user's flood")
    parser.add_argument("--latency", type=int, metavar="N", default=50, help="pages sent into an idle system")
    parser.add_argument("--documents", type=int, metavar="N", default=1000, help="documents to grow to")
    parser.add_argument("--chunks", type=int, metavar="N", default=10_000, help="chunks to search among")
    parser.add_argument("--objects", type=int, metavar="N", default=10_000, help="objects to sweep")
    parser.add_argument("--sockets", type=int, metavar="N", default=1000, help="WebSockets on the API")
    parser.add_argument("--text-mb", type=int, metavar="N", default=100, help="size of the long text, MiB")
    parser.add_argument("--file-mb", type=int, metavar="N", default=1024, help="size of a big file, MiB")
    parser.add_argument(
        "--big-uploads", type=int, metavar="N", default=10, help="how many of them straight to the store"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", default=json, help="where everything goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
