"""The rounds can go red: without a protection they do, and for the reason that it is there for.

Two of tests/chaos/sabotage.py's table; `python -m tests.chaos --short --rounds 3 --sabotage NAME` shows any of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.servers import NotInstalledError
from tests.chaos.conftest import SEED, skip
from tests.chaos.rounds import Plan, Series
from tests.chaos.sabotage import PROTECTIONS
from tests.chaos.stage import Stage

# It goes red when patience is at its end: there need not be much.
PLAN = Plan(operations=18, pace_seconds=0.4, faults=0, patience_seconds=20, long=False)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["tidy"])
def test_without_a_protection_the_rounds_go_red(tmp_path: Path, name: str) -> None:
    protection = PROTECTIONS[name]
    try:
        with Stage(tmp_path, seed=SEED, sabotage=name, workers=1) as stage:
            verdict = Series(stage, PLAN).play(1, protection.faults).verdict
    except NotInstalledError as error:
        skip(error)
    assert verdict.count(protection.kind), f"{name}: {verdict.faults}"
