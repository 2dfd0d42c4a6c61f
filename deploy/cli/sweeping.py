"""`brigade sweep`: find in the buckets what no notification told of, now."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, complain, emit, err, table

if TYPE_CHECKING:
    from functions.schedule.sweep import Swept

_COUNTS = ("listed", "documents", "arrived", "removed", "missing", "young", "leaving", "changed", "refused", "seconds")
_SHOWN = ("bucket", "prefix", "listed", "arrived", "removed", "missing", "seconds")


def sweep(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only uploads that were announced and are waited for.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="From the beginning, if one was broken off.")] = False,
    removals: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Remove up to N documents whose objects are gone.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare the buckets with the documents, and make up the events that were missed."""
    from common.services import Services
    from common.telemetry import configure_logging
    from functions.schedule import sweep as schedule
    from router.table import watches

    config = settings()
    configure_logging(config.log_format, "WARNING" if json else config.log_level)
    with closing(Services(config)) as services:
        if quick:
            arrived = schedule.sweep_quickly(services, watches())
            emit({"arrived": arrived}) if json else err.print(f"{arrived:,} uploads had come without a word.")
            return
        # What was counted under another limit is counted anew.
        anew = restart or removals is not None
        swept = schedule.sweep(services, watches(), now=True, restart=anew, removals=removals)
    if json:
        emit([_row(one) for one in swept])
    elif swept:
        table(_SHOWN, [[_row(one)[name] for name in _SHOWN] for one in swept])
    else:
        err.print("Another process sweeps just now.")
    for error in (one.error for one in swept if one.error):
        complain(error)
    if any(one.error for one in swept):
        raise typer.Exit(1)


def _row(one: Swept) -> dict[str, Any]:
    counts = {name: getattr(one.counts, name) for name in _COUNTS}
    return {"bucket": one.bucket, "prefix": one.prefix, **counts, "error": one.error}
