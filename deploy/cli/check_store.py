"""`brigade check-store`: whether a store does what the product needs, and what is done where it does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status
from rich.text import Text

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, err, out

if TYPE_CHECKING:
    from deploy.store_checks.check import Result

_STYLES = {"ok": "green", "instead": "yellow", "FAILED": "bold red", "not tried": "dim"}


def check_store(
    bucket: Annotated[
        str, typer.Option(metavar="NAME", help="Check in this bucket, under a prefix, instead of making some.")
    ] = "",
    events: Annotated[
        bool, typer.Option("--events", help="Wait for its notifications too: RabbitMQ, and the API, must be running.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the store that the settings name: what it does, what is done instead where it lacks something, what fails.

    Nothing of it is left behind, and nobody's objects are touched. Exit code 1 if something fails that is required.
    """
    import structlog

    from deploy.store_checks.check import Verdict, run
    from deploy.store_checks.table import CHECKS
    from deploy.store_checks.trial import trial

    # What the product's parts would warn of here is what the checks tell.
    structlog.configure(processors=[_silence])
    config = settings()
    results: list[Result] = []
    checks = CHECKS
    if events:
        from deploy.store_checks.events import EVENTS

        checks = (*CHECKS, EVENTS)
    with Status("Making what the checks need …", console=err) as status, trial(config, bucket) as made:
        for number, check in enumerate(checks, 1):
            status.update(f"{number} of {len(checks)}: {check.name}")
            results.append(run(check, made))
        status.update("Taking away what the checks made …")
    failed = any(result.verdict is Verdict.FAILED for result in results)
    if json:
        emit({"endpoint": config.s3_endpoint, "passed": not failed, "checks": [asdict(result) for result in results]})
    else:
        _show(results)
    raise typer.Exit(1 if failed else 0)


def _show(results: list[Result]) -> None:
    width = max(len(result.name) for result in results)
    told = ""
    for result in results:
        verdict = (f"{result.verdict:<9}", _STYLES[result.verdict])
        line = Text.assemble(verdict, f" {result.name:<{width}}  ", (result.found, "dim"))
        out.print(line, soft_wrap=True, highlight=False)
        more = [result.then] if result.then != told else []  # that there are no versions is told of many in a row
        if result.verdict == "FAILED":
            more.append(f"Needed for: {result.needed_for}.")
        for sentence in filter(None, more):
            out.print(Text(f"{'':<{width + 12}}{sentence}"), soft_wrap=True, highlight=False)
        told = result.then or told
    counts = Counter(str(result.verdict) for result in results)
    err.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".", highlight=False)


def _silence(*_: object) -> dict[str, object]:
    import structlog

    raise structlog.DropEvent
