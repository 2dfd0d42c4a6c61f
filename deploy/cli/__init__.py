"""The `brigade` command: one file for each kind of commands, put together here."""

from __future__ import annotations

from collections.abc import Callable

import typer

from deploy.cli import auditing, bindings, dead_letters, documents, inspection, processes, sweeping, tasks
from deploy.cli.check_store import check_store
from deploy.cli.knowledge_bases import kb, reindex
from deploy.cli.model import model
from deploy.cli.output import Commands
from deploy.cli.search import search
from deploy.cli.users import users

app = typer.Typer(
    cls=Commands,
    help="Bucket Brigade: a document dropped into a bucket becomes searchable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run": (processes.up, processes.api, processes.worker, processes.scheduler, processes.migrate),
    "Documents": (documents.upload, search, documents.documents, documents.download, documents.delete),
    "Tasks": (tasks.status, tasks.cancel, tasks.retry),
    "Drops": (bindings.bind, bindings.bindings, bindings.unbind),
    "Repair": (reindex, sweeping.sweep, auditing.audit),
    "Dead letters": (dead_letters.dead_letters, dead_letters.redrive, dead_letters.forget),
    "Look": (inspection.functions, inspection.queues, inspection.invoke, check_store),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(kb, name="kb", rich_help_panel="Documents")
app.add_typer(model, name="model", rich_help_panel="Run")
app.add_typer(users, name="users", rich_help_panel="People")


def main() -> None:
    app()
