"""What `brigade up` says: one line for each thing it does, with its time; for people, or as JSON lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text


class Report:
    """Lines for people: with a spinner for what goes on where there is a terminal, plain elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Say what is being done, and then how long it took."""
        started = time.monotonic()
        with self.console.status(Text(f"{title} …")) if self.console.is_terminal else contextlib.nullcontext():
            yield
        self._print(Text.assemble(("✓ ", "green"), title.ljust(48), (f"{time.monotonic() - started:6.1f} s", "dim")))

    def say(self, text: str) -> None:
        """Something a person should know."""
        self._print(Text.assemble(("• ", "cyan"), text))

    def warn(self, text: str) -> None:
        """Something went wrong, and the stack goes on."""
        self._print(Text.assemble(("! ", "bold yellow"), text))

    def ready(self, **facts: Any) -> None:
        """The stack is up: `facts` are for machines, people get them in sentences."""

    def _print(self, text: Text) -> None:
        # A log line must not be broken where no terminal's edge is.
        self.console.print(text, soft_wrap=not self.console.is_terminal, highlight=False)


class JsonReport(Report):
    """The same as JSON lines on standard output."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._emit("done", title=title, seconds=round(time.monotonic() - started, 3))

    def say(self, text: str) -> None:
        self._emit("said", text=text)

    def warn(self, text: str) -> None:
        self._emit("warned", text=text)

    def ready(self, **facts: Any) -> None:
        self._emit("ready", **facts)

    def _emit(self, event: str, **facts: Any) -> None:
        line = msgspec.json.encode({"event": event, **facts}).decode()
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)
