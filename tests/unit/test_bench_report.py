"""What the bench makes of what it measured."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.processes import Usage
from tests.bench.report import Figure, Outcome, cpu_seconds, peak_figures, percentile, show, spread, usage_data, write


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "met"),
    [
        (0.85, 0.85, None, True),
        (0.84, 0.85, None, False),
        (250.0, None, 250, True),
        (250.1, None, 250, False),
        (0.0, None, 0, True),
        (3.0, 1, 2, False),
        (3.0, None, None, None),
    ],
)
def test_a_figure_meets_its_bound_also_on_the_bound(
    value: float, at_least: float | None, at_most: float | None, met: bool | None
) -> None:
    assert Figure("it", value, at_least=at_least, at_most=at_most).met is met


def test_a_target_of_zero_is_shown_as_one() -> None:
    assert Figure("left over", 0, at_most=0).target == "≤ 0"
    assert Figure("rate", 1, at_least=0.5).target == "≥ 0.5"
    assert Figure("rate", 1).target == ""


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (90, 9), (91, 10), (95, 10), (100, 10)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.5], 95) == 7.5


def test_few_values_have_no_95th_percentile() -> None:
    few, many = spread([3.0, 1.0, 2.0]), spread([float(n) for n in range(1, 101)])
    assert few == {"median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}
    assert (many["median"], many["p95"]) == (50.5, 95.0)


def test_the_peak_is_that_of_the_worst_run_and_only_what_has_a_limit_is_judged() -> None:
    runs = [
        {"worker": Usage(1, 600_000_000), "api": Usage(1, 100_000_000)},
        {"worker": Usage(1, 710_000_000), "api": Usage(1, 90_000_000), "child": Usage(0, 50_000_000)},
    ]
    figures = {figure.name: figure for figure in peak_figures(runs, {"worker": 700})}
    assert {name: figure.value for name, figure in figures.items()} == {
        "memory of api": 100,
        "memory of worker": 710,
        "memory of child": 50,
    }
    assert figures["memory of worker"].met is False
    assert figures["memory of api"].met is None


def test_cpu_time_is_told_for_each_document_when_there_were_any() -> None:
    usage = {"worker": Usage(cpu_seconds=3.0, peak_bytes=500_000_000)}
    assert usage_data(usage, 300) == {"worker": {"peak_mb": 500, "cpu_seconds": 3.0, "cpu_ms_per_document": 10.0}}
    assert "cpu_ms_per_document" not in usage_data(usage)["worker"]


def test_the_table_says_of_each_target_whether_it_is_met() -> None:
    out = StringIO()
    figures = [
        Figure("ratio", 0.912, at_least=0.85),
        Figure("p50", 312.4, "ms", at_most=250),
        Figure("rate", 48.26, "pages/s"),
    ]
    show([Outcome("flood", figures)], Console(file=out, width=100))
    lines = {line.split("│")[1].strip(): line for line in out.getvalue().splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in lines["ratio"].split("│")[2:5]] == ["0.912", "≥ 0.85", "yes"]
    assert [cell.strip() for cell in lines["p50"].split("│")[2:5]] == ["312 ms", "≤ 250", "no"]
    assert [cell.strip() for cell in lines["rate"].split("│")[2:5]] == ["48.3 pages/s", "", ""]


def test_the_json_holds_figures_raw_data_and_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    outcome = Outcome("flood", [Figure("ratio", 0.9, at_least=0.5)], {"documents": 300})
    write(path, [outcome], load_before=(0.1, 0.2, 0.3))
    told = json.loads(path.read_text())
    assert told["measured"]["flood"]["figures"] == [
        {"name": "ratio", "value": 0.9, "unit": "", "target": "≥ 0.5", "met": True}
    ]
    assert told["measured"]["flood"]["documents"] == 300
    assert told["load_before"] == [0.1, 0.2, 0.3]
    assert told["machine"]["cores"] > 0
    assert "onnxruntime" in told["machine"]["libraries"]


def test_the_cpu_time_of_the_bench_is_not_the_systems() -> None:
    assert cpu_seconds({"api": Usage(1.0, 0), "worker": Usage(2.5, 0), "bench": Usage(7.0, 0)}) == 3.5
