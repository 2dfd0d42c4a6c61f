"""What `POST /uploads` is measured against: a bare Starlette endpoint that makes the same two inserts, and no more.

A document with its version, and a task with its steps, in one transaction over the same pool of connections: the rows
that ours makes, but for the audit entry. No caller, no checks, no signature, no metrics. The process takes its
database and port from the environment, as ours does.
"""

from __future__ import annotations

import uuid
from typing import Any

import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.db import Database
from common.settings import Settings
from router.table import PIPELINES

_settings = Settings()
_database = Database(_settings)


_STEPS = PIPELINES["DOCUMENT_UPLOAD"].steps

_DOCUMENT = text("""
    WITH document AS (
        INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
        VALUES (:id, :name, 'bare', :id, 'default', 'admin') RETURNING id)
    INSERT INTO document_versions (document_id, version, task_id, file_size, content_type, expires_at)
    SELECT id, 1, :task, :size, :type, now() + interval '1 hour' FROM document
""")
_TASK = text("""
    WITH task AS (
        INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
        VALUES (:id, 'DOCUMENT_UPLOAD', :document, 1, 'default', 'admin') RETURNING id)
    INSERT INTO task_details (task_id, step_order, step_name, weight)
    SELECT id, step.ordinality, step.name, step.weight
    FROM task, unnest(:names ::text[], :weights ::int[]) WITH ORDINALITY AS step (name, weight, ordinality)
""")


async def create(request: Request) -> Response:
    announced = await request.json()
    return JSONResponse(await run_in_threadpool(_insert, announced), 201)


def _insert(announced: dict[str, Any]) -> dict[str, str]:
    document_id, task_id = str(uuid.uuid4()), str(uuid.uuid4())
    with _database.transaction() as connection:
        connection.execute(
            _DOCUMENT,
            {
                "id": document_id,
                "task": task_id,
                "name": announced["filename"],
                "size": announced["size"],
                "type": announced["content_type"],
            },
        )
        connection.execute(
            _TASK,
            {
                "id": task_id,
                "document": document_id,
                "names": [step.name for step in _STEPS],
                "weights": [step.weight for step in _STEPS],
            },
        )
    return {"document_id": document_id, "task_id": task_id}


if __name__ == "__main__":
    app = Starlette(routes=[Route("/uploads", create, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=_settings.api_port, log_config=None, access_log=False, server_header=False)
