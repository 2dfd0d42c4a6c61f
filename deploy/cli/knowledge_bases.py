"""`brigade kb`: knowledge bases, made, listed, shared, deleted."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, emit, out, table

kb = typer.Typer(
    help="Make, list, share and delete knowledge bases.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.")]


class Role(StrEnum):
    READER = "reader"
    EDITOR = "editor"
    OWNER = "owner"


@kb.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT")] = "",
    json: JsonOption = False,
) -> None:
    """Make a knowledge base, which will be yours."""
    with connect() as client:
        made = client.knowledge_bases.create(name, description=description)
    if json:
        emit(made)
    else:
        _say(f"{made.name} is {made.id}; brigade upload --kb puts files into it.")


@kb.command("list")
def list_them(json: JsonOption = False) -> None:
    """List your knowledge bases, and those that are shared with you."""
    with connect() as client:
        bases = list(client.knowledge_bases.list())
    if json:
        emit(bases)
    else:
        rows = [(base.name, base.role, base.document_count, base.chunk_count, base.id) for base in bases]
        table(["name", "role", "documents", "passages", "id"], rows)


@kb.command()
def share(
    name: NameArgument,
    user: Annotated[str, typer.Argument(metavar="USER", help="A username, or a user's id.")],
    role: Annotated[Role, typer.Option("--role", help="Reads, or also changes, or also shares.")] = Role.READER,
    json: JsonOption = False,
) -> None:
    """Give somebody a role in a knowledge base, or another one."""
    with connect() as client:
        member = client.knowledge_bases.share(client.knowledge_bases.find(name).id, user, role.value)
    if json:
        emit(member)
    else:
        _say(f"{member.username} is {member.role} of {name}.")


@kb.command()
def unshare(
    name: NameArgument,
    user: Annotated[str, typer.Argument(metavar="USER", help="A username, or a user's id.")],
    json: JsonOption = False,
) -> None:
    """Take somebody's role in a knowledge base away."""
    with connect() as client:
        base = client.knowledge_bases.find(name)
        client.knowledge_bases.unshare(base.id, user)
    if json:
        emit({"knowledge_base_id": base.id, "user": user})
    else:
        _say(f"{user} has no role in {base.name} any more.")


@kb.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a knowledge base with all its documents."""
    with connect() as client:
        base = client.knowledge_bases.find(name)
        if not yes:
            typer.confirm(f"Delete {base.name} with its {base.document_count} documents?", abort=True, err=True)
        gone = client.knowledge_bases.delete(base.id)
    if json:
        emit(gone)
    else:
        _say(f"{base.name} is out of sight; {len(gone.task_ids)} tasks take its documents away.")


def _say(sentence: str) -> None:
    out.print(sentence, markup=False, highlight=False, soft_wrap=True)
