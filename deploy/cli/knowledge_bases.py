"""`brigade kb` and `brigade reindex`: knowledge bases, made, listed, changed, shared, deleted, processed again."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from common.errors import ConfigurationError
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, emit, say, table
from deploy.client import Chunking, KnowledgeBase

kb = typer.Typer(
    help="Make, list, change, share and delete knowledge bases.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.")]


SizeOption = Annotated[int | None, typer.Option("--chunk-size", metavar="N", help="Largest chunk, in tokens.")]
OverlapOption = Annotated[
    int | None, typer.Option("--chunk-overlap", metavar="N", help="Tokens that a chunk repeats of the one before.")
]


class Boundary(StrEnum):
    HEADING = "heading"
    PAGE = "page"


ByOption = Annotated[
    Boundary | None, typer.Option("--chunk-by", help="A chunk ends with its section and page, or with its page only.")
]


class Role(StrEnum):
    READER = "reader"
    EDITOR = "editor"
    OWNER = "owner"


@kb.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT")] = "",
    size: SizeOption = None,
    overlap: OverlapOption = None,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Make a knowledge base, which will be yours."""
    if size is None and (overlap is not None or by is not None):
        raise ConfigurationError("Say --chunk-size as well, or none of the three: then the server's are taken.")
    chunking = None if size is None else Chunking(size, overlap or 0, by.value if by else "heading")
    with connect() as client:
        made = client.knowledge_bases.create(name, description=description, chunking=chunking)
    if json:
        emit(made)
    else:
        say(f"{made.name} is {made.id}; brigade upload --kb puts files into it.")


@kb.command("list")
def list_them(json: JsonOption = False) -> None:
    """List your knowledge bases, and those that are shared with you."""
    with connect() as client:
        bases = list(client.knowledge_bases.list())
    if json:
        emit(bases)
    else:
        rows = [
            (base.name, base.role, base.document_count, base.chunk_count, base.stale, _remaining(base), base.id)
            for base in bases
        ]
        table(["name", "role", "documents", "passages", "stale", "re-indexing", "id"], rows)


@kb.command()
def change(
    name: NameArgument,
    rename: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT")] = None,
    size: SizeOption = None,
    overlap: OverlapOption = None,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Rename or describe a knowledge base, or split its documents otherwise from now on."""
    with connect() as client:
        base = client.knowledge_bases.find(name)
        chunking = _chunking(base, size, overlap, by)
        changed = client.knowledge_bases.update(base.id, name=rename, description=description, chunking=chunking)
    if json:
        emit(changed)
        return
    say(f"{changed.name} is changed.")
    if changed.stale:
        say(f"{changed.stale:,} documents keep the chunks they have until brigade reindex --kb.")


def reindex(
    kb: Annotated[
        str | None,
        typer.Option("--kb", metavar="NAME", help="This one only; else all of yours, and of everybody for an admin."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Process all documents of a knowledge base again, as after a change of its chunking; search goes on meanwhile."""
    with connect() as client:
        bases = client.knowledge_bases
        wanted = [bases.find(kb)] if kb else [base for base in bases.list() if base.role in ("owner", None)]
        begun = [bases.reindex(base.id) for base in wanted]
    if json:
        emit(begun)
        return
    for base in begun:
        count = base.reindexing.remaining if base.reindexing else 0
        say(f"{base.name}: {count:,} documents are processed again; brigade kb list tells how many remain.")


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
        say(f"{member.username} is {member.role} of {name}.")


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
        say(f"{user} has no role in {base.name} any more.")


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
        say(f"{base.name} is out of sight; {len(gone.task_ids)} tasks take its documents away.")


def _chunking(base: KnowledgeBase, size: int | None, overlap: int | None, by: Boundary | None) -> Chunking | None:
    """The base's, with what is given of it; None: nothing is."""
    if size is None and overlap is None and by is None:
        return None
    now = base.chunking
    return Chunking(
        now.size if size is None else size, now.overlap if overlap is None else overlap, by.value if by else now.by
    )


def _remaining(base: KnowledgeBase) -> int | None:
    return base.reindexing.remaining if base.reindexing else None
