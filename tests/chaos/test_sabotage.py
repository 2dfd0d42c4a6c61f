"""The rounds can go red: without a protection they do, and for the reason that it is there for.

Two of tests/chaos/sabotage.py's table; `make chaos SABOTAGE=NAME` shows any of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.servers import NotInstalledError
from tests.chaos.conftest import SEED, skip
from tests.chaos.rounds import SABOTAGED, Series, play_all
from tests.chaos.sabotage import PROTECTIONS
from tests.chaos.stage import Stage


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["tidy"])
def test_without_a_protection_the_rounds_go_red(tmp_path: Path, name: str) -> None:
    protection = PROTECTIONS[name]
    try:
        with Stage(tmp_path, seed=SEED, sabotage=name, workers=1) as stage:
            series = Series(stage, SABOTAGED)
            play_all(series, 3, kinds=protection.faults, minutes=None, report=print)  # until one goes red
    except NotInstalledError as error:
        skip(error)
    assert series.rounds[-1].verdict.count(protection.kind), f"{name}: {series.rounds[-1]}"
