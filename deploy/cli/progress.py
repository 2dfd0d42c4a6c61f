"""Progress bars of uploads and tasks, on standard error so that standard output stays for results."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as Bar
from rich.text import Text

from deploy.client import TERMINAL, Step, Task

_NAME_CHARACTERS = 36
# Longer details, as checksums, are for programs.
_DETAIL_CHARACTERS = 24


class _Amount(ProgressColumn):
    """Bytes while a file is sent, per cent of its task afterwards."""

    def render(self, task: Bar) -> Text:
        if task.fields.get("bytes"):
            return Text(f"{decimal(int(task.completed))} of {decimal(int(task.total or 0))}", "cyan")
        return Text(f"{task.percentage:>3.0f} %", "cyan")


def document_bars(console: Console) -> Progress:
    """One bar a document: its name, how far it is, and what is being done with it (field `now`)."""
    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        _Amount(),
        TextColumn("{task.fields[now]}", style="dim", markup=False),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def step_bars(console: Console) -> Progress:
    """One bar a step of a task: its name, how far it is, its details (field `now`). They stay when all is done."""
    return Progress(
        TextColumn("  {task.description:<14}", markup=False),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %", style="cyan"),
        TextColumn("{task.fields[now]}", style="dim", markup=False),
        console=console,
        disable=not console.is_terminal,
    )


def short(name: str) -> str:
    """A name that leaves room for its bar."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 9]}…{name[-8:]}"


def now(step: Step) -> str:
    """What a step says of itself: its error, or what it noted, or its state."""
    if step.error_message:
        return step.error_message
    noted = [f"{name.replace('_', ' ')} {value}" for name, value in (step.details or {}).items() if _is_short(value)]
    return ", ".join(noted) or ("" if step.status == "COMPLETED" else step.status.lower())


def current(task: Task) -> str:
    """The step that a task is at, or what it waits for, for a person."""
    if task.waiting_for:
        return task.waiting_for
    at = next((step for step in task.task_details if step.status != "COMPLETED"), None)
    return at.step_name if at else task.status.lower()


def _is_short(value: object) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= _DETAIL_CHARACTERS


class TaskView:
    """The steps of one task as bars that move; lines, one for each step that ends, where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = step_bars(console)
        self._rows: dict[str, TaskID] = {}
        self._ended: set[str] = set()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def show(self, task: Task) -> None:
        for step in task.task_details:
            self._row(step.step_name, step.progress, now(step))
            if step.status in TERMINAL and step.step_name not in self._ended:
                self._ended.add(step.step_name)
                self._line(f"{step.step_name:<14} {step.status.lower():<10} {now(step)}")
        self._row("overall", task.overall_progress, task.waiting_for or task.status.lower())
        if task.ended:
            self._line(f"{'overall':<14} {task.status.lower()}")

    def _row(self, name: str, progress: float, said: str) -> None:
        if name not in self._rows:
            self._rows[name] = self._bars.add_task(name, total=100, now="")
        self._bars.update(self._rows[name], completed=progress, now=said)

    def _line(self, text: str) -> None:
        if self._bars.disable:
            self._console.print(Text(f"  {text.rstrip()}"), soft_wrap=True)
