"""Tick: uploads that were announced and never came. Their tasks end with the reason, their parts are dropped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog

from common import open_uploads
from common.multipart import Multipart
from common.open_uploads import OpenUpload
from common.pipelines import Pipeline
from common.reconciling import Reconciler
from common.services import Services

log = structlog.get_logger()

_AT_ONCE = 100
_INCOMING = "incoming/"


def expire(services: Services, pipelines: Mapping[str, Pipeline]) -> None:
    """Give up uploads that were waited for long enough; one whose notification was lost is begun instead."""
    multipart = Multipart(services.objects)
    with services.database.transaction() as connection:
        overdue = open_uploads.expired(connection, limit=_AT_ONCE)
    for upload in overdue:
        if upload.status == "PENDING" and _arrived(services, upload, pipelines):
            continue
        with services.database.transaction() as connection:
            given_up = open_uploads.expire(connection, upload)
        if given_up and upload.upload_id:
            multipart.abort(upload.key, upload.upload_id)
        log.info("upload.expired", document=upload.document_id, task=upload.task_id, given_up=given_up)
    _sweep(services, multipart)


def _arrived(services: Services, upload: OpenUpload, pipelines: Mapping[str, Pipeline]) -> bool:
    """Whether its object is there after all. The messages that follow are sent by the relay."""
    if services.objects.look(upload.bucket, upload.key) is None:
        return False
    arrival, removal = pipelines["DOCUMENT_UPLOAD"], pipelines["DOCUMENT_DELETE"]
    # There is no time left to wait for its notification.
    reconciler = Reconciler(services.database, services.objects, arrival, removal, grace_seconds=0)
    outcome = reconciler.reconcile(upload.bucket, upload.key, remove=False)
    log.warning("upload.notification_lost", document=upload.document_id, task=upload.task_id, outcome=str(outcome))
    return True


def _sweep(services: Services, multipart: Multipart) -> None:
    """Drop the parts of uploads that no row knows: of deleted documents, of processes that died, of other systems."""
    before = datetime.now(UTC) - timedelta(seconds=services.settings.upload_multipart_seconds)
    old = [one for one in multipart.open(_INCOMING) if one.begun_at < before]
    if not old:
        return
    with services.database.transaction() as connection:
        wanted = open_uploads.wanted(connection, services.objects.bucket, [one.key for one in old])
    for one in old:
        if one.upload_id not in wanted:
            multipart.abort(one.key, one.upload_id)
            log.info("upload.swept", key=one.key)
