"""What `POST /uploads` is measured against: a bare Starlette endpoint that makes the same two inserts, and no more.

No caller, no checks, no signature: a document and its task, in one transaction over the same pool of connections. The
process takes its database and port from the environment, as ours does.
"""

from __future__ import annotations

import uuid

import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.db import Database
from common.settings import Settings

_settings = Settings()
_database = Database(_settings)


async def create(request: Request) -> Response:
    announced = await request.json()
    return JSONResponse(await run_in_threadpool(_insert, announced["filename"]), 201)


def _insert(name: str) -> dict[str, str]:
    document_id, task_id = str(uuid.uuid4()), str(uuid.uuid4())
    with _database.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO documents (id, name, bucket_name, object_key, knowledge_base_id, user_id)
                VALUES (:id, :name, 'bare', :id, 'default', 'admin')
            """),
            {"id": document_id, "name": name},
        )
        connection.execute(
            text("""
                INSERT INTO tasks (id, type, document_id, version, knowledge_base_id, created_by)
                VALUES (:id, 'DOCUMENT_UPLOAD', :document, 1, 'default', 'admin')
            """),
            {"id": task_id, "document": document_id},
        )
    return {"document_id": document_id, "task_id": task_id}


if __name__ == "__main__":
    app = Starlette(routes=[Route("/uploads", create, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=_settings.api_port, log_config=None, access_log=False, server_header=False)
