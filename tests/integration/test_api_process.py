"""What an API process does by itself: it sends what a request makes ready, and says at its start what is unwise."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common import documents
from common.events import ObjectCreated
from common.services import Services
from common.settings import Settings
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD
from tests.integration.whole_api import WholeApi, admin_key
from tests.processes import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    services = Services(settings)
    yield services
    services.close()


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    """An API without scheduler or worker: what is sent, it has sent."""
    with WholeApi(settings) as api, api.http(admin_key(settings)) as http:
        wait_until(
            lambda: http.get("/readyz").json()["checks"]["rabbitmq"] == "ok", seconds=20, what="RabbitMQ is there"
        )
        yield http


def arrived(services: Services) -> str:
    """A document whose object has come."""
    event = ObjectCreated("b", "incoming/a.txt", "1".zfill(32), etag="e", size=5)
    with services.database.transaction() as connection:
        (ready,) = documents.arrive(connection, event, DOCUMENT_UPLOAD, DOCUMENT_DELETE)
        task = connection.execute(text("SELECT document_id FROM tasks WHERE id = :id"), {"id": ready.task_id})
        return str(task.scalar_one())


def unsent(services: Services, task_id: str) -> int:
    with services.database.transaction() as connection:
        statement = (
            "SELECT count(*) FROM task_details WHERE task_id = :id AND ready_at IS NOT NULL AND published_at IS NULL"
        )
        return int(connection.execute(text(statement), {"id": task_id}).scalar_one())


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/documents/{}/reprocess"), ("DELETE", "/v1/documents/{}")])
def test_what_a_request_begins_is_sent_before_it_is_answered(
    services: Services, http: httpx.Client, method: str, path: str
) -> None:
    answer = http.request(method, path.format(arrived(services)))
    assert answer.status_code == 202
    assert unsent(services, answer.json()["task_id"]) == 0


def test_uploads_signed_with_the_main_key_are_told_of_at_the_start(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    nothing = SecretStr("")
    with WholeApi(settings, s3_signing_access_key=nothing, s3_signing_secret_key=nothing):
        pass
    assert "uploads.signed_with_main_key" in capfd.readouterr().err
