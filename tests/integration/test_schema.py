"""/openapi.json against the API that it describes: schemathesis tries what it allows, and what it does not.

Deterministic, so that it finds tomorrow what it found today. To look for longer: BRIGADE_SCHEMA_EXAMPLES=200.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import Settings
from deploy.migrate import prepare
from tests.integration.whole_api import WholeApi, admin_key

pytestmark = pytest.mark.integration

_CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
_EXAMPLES = int(os.environ.get("BRIGADE_SCHEMA_EXAMPLES", "2"))
_SECONDS_AN_EXAMPLE = 60  # of all calls together, on a busy machine


@pytest.mark.timeout(300 + _EXAMPLES * _SECONDS_AN_EXAMPLE)
def test_schemathesis_finds_nothing(settings: Settings, tmp_path: Path) -> None:
    prepare(settings)
    key = admin_key(settings)
    with WholeApi(settings, requests_per_minute=0, logins_per_minute=0) as api:
        run = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "--config-file", _CONFIGURATION, "run"),
                *(f"{api.url}/openapi.json", "--phases", "examples,coverage,fuzzing", "--max-examples", str(_EXAMPLES)),
            ],
            env={**os.environ, "BRIGADE_API_KEY": key, "PYTHONPATH": str(_CONFIGURATION.parents[2])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5_000:]
