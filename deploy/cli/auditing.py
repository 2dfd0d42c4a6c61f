"""`brigade audit`: whether Postgres, the store and Milvus agree, and what a repair does about it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, err, table

if TYPE_CHECKING:
    from common.comparison.findings import Finding, Report


def audit(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is found.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare Postgres, store and Milvus both ways. Exit code 1: something is wrong, and not repaired."""
    from common.comparison.findings import Kind
    from common.services import Services
    from functions.schedule.compare import compare
    from router.table import PIPELINES

    with closing(Services(settings())) as services:
        report = compare(services, PIPELINES, repair=list(Kind) if repair else [])
    if json:
        emit(report)
    else:
        _show(report, repair)
    if not report.clean:
        raise typer.Exit(1)


def _show(report: Report, repair: bool) -> None:
    if report.findings:
        table(["FOUND", "HOW MANY", "WHAT"], ((one.kind, _amount(one), _words(one, repair)) for one in report.findings))
    compared = ", ".join(f"{count:,} {what}" for what, count in report.compared.items())
    verdict = (
        "Nothing is wrong." if not report.findings else "All of it is repaired, or being so." if report.clean else ""
    )
    err.print(f"Compared {compared} in {report.seconds:g} s. {verdict}".rstrip(), highlight=False, soft_wrap=True)


def _amount(finding: Finding) -> str:
    from common.comparison.findings import WORDS

    words = WORDS[finding.kind]
    items = "" if words.items == words.subjects else f"\n{finding.items:,} {words.items}"
    return f"{finding.count:,} {words.subjects}{items}"


def _words(finding: Finding, repair: bool) -> str:
    lines = [finding.what, *(f"  {example}" for example in finding.examples)]
    if finding.count > len(finding.examples):
        lines.append(f"  and {finding.count - len(finding.examples):,} more")
    if not repair:
        lines.append(f"--repair {finding.repair}.")
    elif finding.left:
        lines.append(finding.not_repaired or f"{finding.left:,} could not be repaired now: see them again later.")
    else:
        lines.append("Repaired, or being so: it " + finding.repair.replace("now", "").strip() + ".")
    return "\n".join([*lines, ""])
