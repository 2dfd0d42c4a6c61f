"""What a store must do, asked of each store there is here; and what is done instead is what was done before.

BRIGADE_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY name another one to be asked: any MinIO, Silo, AWS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from common.settings import Settings
from deploy.local.servers import LocalServers
from deploy.store_checks.check import Check, Verdict, run
from deploy.store_checks.table import CHECKS
from deploy.store_checks.trial import Trial, trial
from tests.seaweedfs import SeaweedFS

pytestmark = pytest.mark.integration

NAMED = [os.environ.get(f"BRIGADE_TEST_S3_{name}", "") for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")]
NO_VERSIONS = {check.name for check in CHECKS if check.needs_versions}
# Of each store, the checks that it does not pass, so that something else is done.
INSTEAD = {
    "juicefs": NO_VERSIONS
    | {
        "deletions that demand an ETag",
        "keys: empty folders",
        "keys: ending in a slash",
        "keys: dots",
        "keys: below an object",
        "keys: above objects",
    },
    "seaweedfs": {
        "times",
        "restricted keys",
        "keys: backslashes",
        "keys: names over 255 bytes",
        "keys: empty folders",
        "keys: ending in a slash",
        "keys: dots",
        "keys: below an object",
        "keys: above objects",
        "listing order",
        "listing of versions in pages",
        "notification rules",
    },
}


def settings_of(endpoint: str, access_key: str, secret_key: str) -> Settings:
    named = {"s3_endpoint": endpoint, "s3_access_key": access_key, "s3_secret_key": secret_key}
    return Settings.model_validate(named)


@pytest.fixture(scope="module")
def on_juicefs(servers: LocalServers) -> Iterator[Trial]:
    store = servers.store
    with trial(settings_of(store.endpoint, store.access_key, store.secret_key)) as made:
        yield made


@pytest.fixture(scope="module")
def on_seaweedfs(seaweedfs: SeaweedFS) -> Iterator[Trial]:
    with trial(settings_of(seaweedfs.endpoint, seaweedfs.access_key, seaweedfs.secret_key)) as made:
        yield made


@pytest.fixture(scope="module")
def on_named() -> Iterator[Trial]:
    with trial(settings_of(*NAMED)) as made:
        yield made


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("store", ["juicefs", "seaweedfs", *(["named"] if all(NAMED) else [])])
def test_a_store_does_what_is_needed(store: str, check: Check, request: pytest.FixtureRequest) -> None:
    result = run(check, request.getfixturevalue(f"on_{store}"))
    if store == "named":
        assert result.verdict is not Verdict.FAILED, result
    else:
        assert result.verdict is (Verdict.INSTEAD if check.name in INSTEAD[store] else Verdict.OK), result
