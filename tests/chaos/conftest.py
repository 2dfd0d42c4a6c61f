"""The stage of the rounds: one for all of them, its seed fixed, so that CI breaks the same things each time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.servers import NotInstalledError
from tests.chaos.cluster import Cluster
from tests.chaos.rounds import SHORT, Series
from tests.chaos.stage import Stage

SEED = 4


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    """Rounds on one stage. A server that is not installed skips them, but in CI fails them."""
    try:
        with Stage(tmp_path_factory.mktemp("chaos"), seed=SEED) as stage:
            yield Series(stage, SHORT)
    except NotInstalledError as error:
        skip(error)


@pytest.fixture
def cluster_series(tmp_path: Path) -> Iterator[Series]:
    try:
        with (
            Cluster(tmp_path / "cluster", password=secrets.token_hex(16)) as cluster,
            Stage(tmp_path, seed=SEED, cluster=cluster, workers=1) as stage,
        ):
            yield Series(stage, SHORT)
    except NotInstalledError as error:
        skip(error)


def skip(error: NotInstalledError) -> None:
    if os.environ.get("CI"):
        raise error
    pytest.skip(str(error))
