"""Uploads that do not come, come late, or end twice: over the real database and store, and no notifications."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Barrier, Lock
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common import documents, open_uploads
from common.errors import Conflict
from common.events import ObjectCreated
from common.http import Call
from common.multipart import Multipart
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from functions.http import parts, uploads
from functions.http.parts import CompleteRequest, SentPart, SignRequest
from functions.http.upload_requests import UploadBatch, UploadRequest
from functions.http.upload_tickets import UploadTicket
from functions.schedule.expire import expire
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD, PIPELINES

pytestmark = pytest.mark.integration

MIB = 1 << 20
CONTENT = b"x" * (11 * MIB)


class Api:
    """The handlers, called as the endpoints call them, for one user."""

    def __init__(self, services: Services, user_id: str = "admin") -> None:
        self.services = services
        self.caller = Principal(user_id, is_admin=user_id == "admin")

    def call(self, document_id: str = "") -> Call:
        return Call(self.services, PIPELINES, self.caller, {"document_id": document_id})

    def announce(self, size: int = 5, **told: Any) -> UploadTicket:
        return uploads.create_upload(self.call(), UploadRequest(filename="a.txt", size=size, **told)).body

    def multipart(self) -> UploadTicket:
        return self.announce(len(CONTENT), sha256="a" * 64, method="multipart")

    def send(self, ticket: UploadTicket) -> None:
        assert isinstance(ticket.parts, list)
        for part in ticket.parts:
            answer = httpx.put(part.url, content=CONTENT[: part.size])
            assert answer.status_code == 200, answer.text

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        with self.services.database.transaction() as connection:
            return list(connection.execute(text(statement), parameters).all())

    def pass_away(self) -> None:
        """Everything that is waited for was waited for long enough."""
        self.sql("UPDATE document_versions SET expires_at = now() - interval '1 second' RETURNING 1")

    def status(self, ticket: UploadTicket) -> tuple[str, str | None]:
        ((status, code),) = self.sql("SELECT status, error_code FROM tasks WHERE id = :id", id=ticket.task_id)
        return status, code

    def open(self) -> list[str]:
        return [one.upload_id for one in Multipart(self.services.objects).open("incoming/")]

    def arrive(self, ticket: UploadTicket, sequencer: int = 1, etag: str = "e") -> str:
        """The notification of its object; returns the task that it began."""
        event = ObjectCreated(self.services.objects.bucket, ticket.key, f"{sequencer:032X}", etag=etag, size=5)
        with self.services.database.transaction() as connection:
            ready = documents.arrive(connection, event, DOCUMENT_UPLOAD, DOCUMENT_DELETE)
        return ready[0].task_id if ready else ""


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    own = {"upload_part_bytes": 5 * MIB, "s3_signing_access_key": SecretStr(""), "s3_signing_secret_key": SecretStr("")}
    with closing(Services(settings.model_copy(update=own))) as services:
        yield Api(services)


def test_two_who_complete_at_once_get_the_same_answer(api: Api) -> None:
    ticket = api.multipart()
    api.send(ticket)
    with ThreadPoolExecutor(4) as threads:
        ends = list(
            threads.map(lambda _: parts.complete_upload(api.call(ticket.document_id), CompleteRequest()), range(4))
        )
    assert len(set(map(repr, ends))) == 1
    assert api.sql("SELECT count(*) FROM audit_log WHERE action = 'upload.complete'")[0][0] == 1
    assert api.services.objects.exists(ticket.key)


def test_uploads_that_are_finished_at_once_leave_connections_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = api.multipart()
    api.send(ticket)
    many = api.services.settings.work_threads + 4
    together, lock, holding = Barrier(many), Lock(), [0, 0]  # now, and at most
    listed, exclusive = Multipart.parts, api.services.database.exclusive

    def look(*args: Any) -> Any:
        found = listed(*args)
        together.wait(30)
        return found

    @contextmanager
    def counted(name: str) -> Iterator[Any]:
        with lock:
            holding[0] += 1
            holding[1] = max(holding)
        try:
            with exclusive(name) as connection:
                yield connection
        finally:
            with lock:
                holding[0] -= 1

    monkeypatch.setattr(Multipart, "parts", look)
    monkeypatch.setattr(api.services.database, "exclusive", counted)
    with ThreadPoolExecutor(many) as threads:
        calls = [api.call(ticket.document_id)] * many
        ends = list(threads.map(lambda call: parts.complete_upload(call, CompleteRequest()), calls))
    assert {end.key for end in ends} == {ticket.key}
    assert holding[1] <= many // 2


def test_many_uploads_at_once_get_some_of_their_urls_and_ask_for_more(api: Api) -> None:
    file = UploadRequest(filename="a.bin", size=1 << 30, method="multipart")
    (alone,) = uploads.create_uploads(api.call(), UploadBatch([file])).items
    tickets = uploads.create_uploads(api.call(), UploadBatch([file] * 40)).items
    told = [len(ticket.parts) for ticket in tickets if isinstance(ticket.parts, list)]
    assert (len(alone.parts), sum(told), len(told)) == (100, 1000, 40)  # type: ignore[arg-type]


def test_parts_that_are_not_what_was_sent_are_named(api: Api) -> None:
    ticket = api.multipart()
    api.send(ticket)
    there = parts.list_parts(api.call(ticket.document_id)).parts
    sent = [SentPart(one.number, f'"{one.etag}"' if one.number != 2 else "other") for one in there]
    with pytest.raises(Conflict) as caught:
        parts.complete_upload(api.call(ticket.document_id), CompleteRequest(sent))
    assert (caught.value.code, caught.value.details) == ("PARTS_DIFFER", {"parts": [2]})
    sent[1] = SentPart(2, there[1].etag)
    assert parts.complete_upload(api.call(ticket.document_id), CompleteRequest(sent)).key == ticket.key


def test_an_aborted_upload_leaves_no_parts_and_ends_its_task(api: Api) -> None:
    ticket = api.multipart()
    api.send(ticket)
    for _ in range(2):
        parts.abort_upload(api.call(ticket.document_id))
    assert api.status(ticket) == ("CANCELLED", "UPLOAD_ABORTED")
    assert api.open() == []
    with pytest.raises(Conflict) as caught:
        parts.sign_parts(api.call(ticket.document_id), SignRequest([1]))
    assert caught.value.code == "UPLOAD_ABORTED"
    assert api.multipart().document_id != ticket.document_id, "there is nothing to go on with"


def test_an_upload_that_the_store_has_forgotten_begins_anew(api: Api) -> None:
    ticket = api.multipart()
    Multipart(api.services.objects).abort(ticket.key, str(ticket.upload_id))
    with pytest.raises(Conflict) as caught:
        parts.list_parts(api.call(ticket.document_id))
    assert caught.value.code == "UPLOAD_GONE"
    again = api.multipart()
    assert (again.resumed, again.document_id != ticket.document_id) == (False, True)


def test_what_is_waited_for_is_not_given_up_and_what_expired_is_with_its_parts(api: Api) -> None:
    simple, multipart = api.announce(), api.multipart()
    expire(api.services, PIPELINES)
    assert [api.status(one)[0] for one in (simple, multipart)] == ["PENDING", "PENDING"]
    api.pass_away()
    parts.sign_parts(api.call(multipart.document_id), SignRequest([1]))
    expire(api.services, PIPELINES)
    assert api.status(simple) == ("FAILED", "UPLOAD_EXPIRED")
    assert api.status(multipart) == ("PENDING", None), "who asks for more parts is still there"
    api.pass_away()
    expire(api.services, PIPELINES)
    assert api.status(multipart) == ("FAILED", "UPLOAD_EXPIRED")
    assert api.open() == []
    with api.services.database.transaction() as connection:
        assert open_uploads.expired(connection, limit=10) == []


def test_an_object_whose_notification_was_lost_is_begun_and_not_given_up(api: Api) -> None:
    ticket = api.announce()
    assert isinstance(ticket.headers, dict)
    assert httpx.put(str(ticket.url), content=b"12345", headers=ticket.headers).status_code == 200
    api.pass_away()
    expire(api.services, PIPELINES)
    assert api.status(ticket) == ("RUNNING", None)
    (ready,) = api.sql("SELECT step_name FROM task_details WHERE ready_at IS NOT NULL AND published_at IS NULL")
    assert ready.step_name == "VALIDATE", "the relay will send its message"


def test_parts_that_no_row_knows_are_swept_when_they_are_old(api: Api) -> None:
    multipart, known = Multipart(api.services.objects), api.multipart()
    multipart.begin("incoming/nobody/knows.bin", "text/plain")
    expire(api.services, PIPELINES)
    assert len(api.open()) == 2
    old = api.services.settings.model_copy(update={"upload_multipart_seconds": -1})
    api.services.settings = old
    expire(api.services, PIPELINES)
    assert api.open() == [known.upload_id]


def test_an_object_that_comes_after_its_upload_expired_is_a_new_version(api: Api) -> None:
    ticket = api.announce(sha256="a" * 64)
    api.pass_away()
    expire(api.services, PIPELINES)
    late = api.arrive(ticket)
    assert late != ticket.task_id
    rows = api.sql("SELECT version, sha256, etag FROM document_versions ORDER BY version")
    assert [tuple(row) for row in rows] == [(1, "a" * 64, None), (2, "a" * 64, "e")]
    assert api.status(ticket) == ("FAILED", "UPLOAD_EXPIRED"), "what was, was"
    api.pass_away()
    expire(api.services, PIPELINES)
    assert api.sql("SELECT status FROM tasks WHERE id = :id", id=late)[0].status == "RUNNING"


def test_an_object_whose_document_is_gone_belongs_to_who_announced_it(api: Api) -> None:
    api.sql("INSERT INTO users (id, username) VALUES ('ann', 'ann') RETURNING 1")
    api.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES ('anns', 'anns', 'ann') RETURNING 1")
    ticket = Api(api.services, "ann").announce(knowledge_base_id="anns")
    api.sql("DELETE FROM documents WHERE id = :id RETURNING 1", id=ticket.document_id)
    task = api.arrive(ticket)
    (row,) = api.sql(
        """
        SELECT document.id, document.user_id, document.knowledge_base_id AS base, task.created_by
        FROM tasks AS task JOIN documents AS document ON document.id = task.document_id WHERE task.id = :id
        """,
        id=task,
    )
    assert (row.user_id, row.base, row.created_by) == ("ann", "anns", "ann")
    assert row.id != ticket.document_id


def test_an_object_of_who_may_no_longer_upload_there_does_not_come_into_the_base(api: Api) -> None:
    for name in ("ann", "eve"):
        api.sql("INSERT INTO users (id, username) VALUES (:name, :name) RETURNING 1", name=name)
        api.sql("INSERT INTO knowledge_bases (id, name, owner_id) VALUES (:name, 'own', :name) RETURNING 1", name=name)
        api.sql("UPDATE users SET default_knowledge_base_id = :name WHERE id = :name RETURNING 1", name=name)
    api.sql("INSERT INTO knowledge_base_members VALUES ('ann', 'eve', 'editor') RETURNING 1")
    ticket = Api(api.services, "eve").announce(knowledge_base_id="ann")
    api.sql("DELETE FROM documents WHERE id = :id RETURNING 1", id=ticket.document_id)
    api.sql("UPDATE knowledge_base_members SET role = 'reader' RETURNING 1")
    task = api.arrive(ticket)
    (row,) = api.sql("SELECT knowledge_base_id AS base, created_by FROM tasks WHERE id = :id", id=task)
    assert (row.base, row.created_by) == ("eve", "eve")
