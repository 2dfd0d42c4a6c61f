"""Real servers for the tests that need them: private ones, on free ports, in a temporary directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from common.objects import ObjectStore
from common.settings import Settings
from deploy.local.guardian import Guardian
from deploy.local.servers import LocalServers, NotInstalledError
from deploy.local.state import free_port
from deploy.migrate import migrate
from tests.integration.databases import Databases
from tests.integration.live_api import LiveApi, People
from tests.integration.rig import Rig
from tests.integration.system import System
from tests.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServers]:
    """All four servers. One that is not installed skips the test, but in CI, where green must mean tested, fails it."""
    servers = LocalServers(tmp_path_factory.mktemp("servers"), api_port=free_port())
    try:
        servers.start()
    except NotInstalledError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A store with versions and without notifications."""
    guardian = Guardian()
    directory = tmp_path_factory.mktemp("seaweedfs")
    server = SeaweedFS(directory / "data", free_port(), guardian, secret_key=secrets.token_hex(16))
    try:
        server.start()
    except NotInstalledError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield server
    server.stop()
    guardian.close()


@pytest.fixture(scope="session")
def databases(servers: LocalServers) -> Databases:
    url = servers.postgres.url
    migrate(url)
    return Databases(url)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A database of this test's own, empty but migrated."""
    with databases.one() as url:
        yield url


@pytest.fixture
def settings(servers: LocalServers, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for the session's servers, with a database, a bucket and a collection of this test's own."""
    own = f"test-{secrets.token_hex(4)}"
    environment = servers.environment | {
        "BRIGADE_DATABASE_URL": database_url,
        "BRIGADE_BUCKET": own,
        "BRIGADE_COLLECTION": own.replace("-", "_"),
        "BRIGADE_API_PORT": str(servers.api_port),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # processes that the test starts inherit them
    settings = Settings()
    ObjectStore(settings).admin.create_bucket(Bucket=own)
    return settings


@pytest.fixture(scope="session")
def system(servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system's API and scheduler as processes. Workers come with `worker`, or of the test's own making."""
    system = System(servers, tmp_path_factory.mktemp("system"))
    with system.running():
        yield system
    system.close()


@pytest.fixture(scope="module")
def worker(system: System) -> Iterator[System]:
    """The system with a worker."""
    with system.worker():
        yield system


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    rig = Rig(database_url)
    yield rig
    rig.database.close()


@pytest.fixture
def api(database_url: str) -> Iterator[LiveApi]:
    with LiveApi(database_url) as api:
        yield api


@pytest.fixture
def people(api: LiveApi) -> People:
    return People(api.services)


@pytest.fixture
def ann(people: People) -> str:
    """Her key; the task `t` is hers."""
    key = people.user("ann")
    people.task("ann", "t")
    return key
