"""What `brigade up` says: one line for each thing it does, with its time; for people, or as JSON lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_TITLE_CHARACTERS = 48


class Report:
    """Lines for people: with a spinner for what goes on where there is a terminal, plain elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Say what is being done, and then how long it took. One that fails is left to its error."""
        began = time.monotonic()
        with self.console.status(Text(f"{doing} …")) if self.console.is_terminal else contextlib.nullcontext():
            yield
        self.done(done, time.monotonic() - began)

    def done(self, what: str, seconds: float) -> None:
        self._print(Text.assemble(("✓ ", "green"), what.ljust(_TITLE_CHARACTERS), (f"{seconds:6.1f} s", "dim")))

    def say(self, text: str) -> None:
        """Something a person should know."""
        self._print(Text.assemble(("· ", "cyan"), text))

    def warn(self, text: str) -> None:
        """Something went wrong, and the stack goes on."""
        self._print(Text.assemble(("! ", "bold yellow"), text))

    def ready(self, url: str, file: Path) -> None:
        """All is done: say where it is and what to do with it. `file`: what tells other programs."""
        lines = Table.grid(padding=(0, 2))
        lines.add_row("Bucket Brigade is at", Text(url, "bold cyan"))
        lines.add_row("From another terminal", Text("brigade upload FILE… --wait", "bold"))
        lines.add_row("", Text('brigade search "…"', "bold"))
        lines.add_row("Addresses and keys", Text(str(file), overflow="fold"))
        lines.add_row("To stop", Text("Ctrl-C; the data stays"))
        self.console.print("", lines, sep="\n")

    def _print(self, text: Text) -> None:
        # Where there is no terminal there is no edge to break lines at.
        self.console.print(text, soft_wrap=not self.console.is_terminal, highlight=False)


class JsonReport(Report):
    """The same as JSON lines on standard output. `console` gets what is for people only."""

    def done(self, what: str, seconds: float) -> None:
        _emit("done", what=what, seconds=round(seconds, 3))

    def say(self, text: str) -> None:
        _emit("said", text=text)

    def warn(self, text: str) -> None:
        _emit("warned", text=text)

    def ready(self, url: str, file: Path) -> None:
        _emit("ready", url=url, file=str(file))


def _emit(event: str, **facts: Any) -> None:
    typer.echo(msgspec.json.encode({"event": event, **facts}))
