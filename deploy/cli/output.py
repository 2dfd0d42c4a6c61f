"""How every command speaks: results on standard output, everything else on standard error, errors as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from common.errors import BrigadeError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]

out = Console()
err = Console(stderr=True)


class Commands(TyperGroup):
    """Commands whose expected errors are a sentence on standard error and exit code 1, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrigadeError as error:
            complain(error.message)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            complain("Interrupted.")
            raise typer.Exit(130) from error


def plain(told: str, *, lines: bool = False) -> str:
    """What somebody else said, without what would steer the terminal; in one line, unless `lines` may stay."""
    return "".join(character if character.isprintable() or (lines and character == "\n") else " " for character in told)


def emit(value: Any) -> None:
    """One line of JSON."""
    typer.echo(msgspec.json.encode(value))


def say(sentence: str) -> None:
    out.print(plain(sentence), markup=False, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    err.print(Text.assemble(("Error: ", "bold red"), plain(message, lines=True)), soft_wrap=True, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. Columns of numbers stand to the right; only the last column may be broken into lines."""
    rows = [list(row) for row in rows]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[at], int | float | None) for row in rows)
        shown.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=at < len(columns) - 1)
    for row in rows:
        shown.add_row(*(Text("" if cell is None else plain(str(cell), lines=True)) for cell in row))
    out.print(shown)
