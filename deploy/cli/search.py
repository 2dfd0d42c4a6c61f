"""`brigade search`: passages that answer a question."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from deploy.cli import filters
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, emit, err, out
from deploy.cli.passages import show


class Mode(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


def search(
    query: Annotated[str, typer.Argument(help="A question, or words, in any language the model knows.")],
    top_k: Annotated[int, typer.Option("-n", "--top-k", min=1, max=100, help="How many passages.")] = 5,
    mode: Annotated[
        Mode, typer.Option("--mode", help="By meaning and words, by meaning only, by words only.")
    ] = Mode.HYBRID,
    kb: Annotated[
        list[str] | None,
        typer.Option("--kb", metavar="NAME", help="A knowledge base: its name or its id; again: that one too."),
    ] = None,
    document: Annotated[
        list[str] | None, typer.Option("--document", metavar="ID", help="Only in this document; again: that one too.")
    ] = None,
    filter_: Annotated[list[str] | None, typer.Option("--filter", metavar="FILTER", help=filters.HELP)] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", metavar="N", min=0, max=5, help="N chunks before and after each as well.")
    ] = 0,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on where an answer ended that gave this.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find passages, the best first."""
    wanted = filters.parse(filter_ or [])
    with connect() as client:
        answer = client.search(
            query,
            top_k=top_k,
            mode=mode.value,
            knowledge_base=kb or None,
            documents=document or None,
            filters=wanted,
            neighbours=neighbours,
            cursor=cursor,
        )
    if json:
        emit(answer)
        return
    show(out, answer.hits)
    count = len(answer.hits)
    err.print(Text(f"{count} passage{'' if count == 1 else 's'} in {answer.took_ms:.0f} ms", "dim"))
    if answer.next_cursor:
        err.print(Text(f"There are more: the same with --cursor {answer.next_cursor}", "dim"), soft_wrap=True)
