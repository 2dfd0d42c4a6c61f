"""The `brigade` command: one file for each kind of commands, put together here."""

from __future__ import annotations

import typer

from deploy.cli import documents, inspection, processes
from deploy.cli.output import Commands

app = typer.Typer(
    cls=Commands,
    help="Bucket Brigade: a document dropped into a bucket becomes searchable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for panel, commands in {
    "Run": (processes.up, processes.api, processes.worker, processes.scheduler, processes.migrate),
    "Use": (documents.upload, documents.status, documents.search),
    "Look": (inspection.functions, inspection.queues, inspection.invoke),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> None:
    app()
