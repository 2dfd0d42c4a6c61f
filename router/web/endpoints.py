"""THE table of the HTTP side: each call, the function that answers it, and who may make it.

To add one: write a function in functions/http/, put one line here. /openapi.json, the rights and the metrics follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from common.access import Subject
from functions.http.audit import list_audit
from functions.http.auth import change_password, log_in, log_out, who_am_i
from functions.http.bindings import create_binding, delete_binding, list_bindings
from functions.http.contents import download, read_chunks, read_text
from functions.http.dead_letters import (
    forget_dead_letter,
    list_dead_letters,
    read_dead_letter,
    redrive_dead_letter,
    redrive_dead_letters,
)
from functions.http.documents import (
    change_document,
    delete_document,
    get_document,
    list_documents,
    reprocess_document,
)
from functions.http.keys import create_key, list_keys, revoke_key
from functions.http.knowledge_bases import (
    change_base,
    create_base,
    delete_base,
    get_base,
    list_bases,
    list_members,
    put_member,
    reindex_base,
    remove_member,
)
from functions.http.parts import abort_upload, complete_upload, list_parts, sign_parts
from functions.http.search import search, search_base
from functions.http.streamed import DocumentUpload
from functions.http.task_stats import read_stats
from functions.http.tasks import cancel_task, get_task, list_tasks, retry_task
from functions.http.uploads import create_upload, create_uploads
from functions.http.users import change_user, create_user, list_users, read_user, remove_user
from router.web.events import TaskEvents
from router.web.rules import ADMINISTERS, PUBLIC, READS, WRITES, Rule, deletes, edits, leaves, owns, reads
from router.web.streams import Streams
from router.web.websocket import TaskSocket

Handler = Callable[..., Any]

DOCUMENT, TASK, BASE = Subject.DOCUMENT, Subject.TASK, Subject.KNOWLEDGE_BASE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`also`: the statuses that it can answer besides those that router/web/operations.py knows from its shape.

    `batch`: its body may be as large as that of many calls.
    """

    method: str
    path: str
    handler: Handler
    rule: Rule
    status: int = 200
    also: tuple[int, ...] = ()
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A call that takes a file in a form, while it comes: `handler.form` are the other fields, `finish` the answer."""

    method: str
    path: str
    handler: type[DocumentUpload]
    rule: Rule
    status: int = 200


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """A call that stays open: an ASGI application. `method`: GET, or WS for a WebSocket."""

    method: str
    path: str
    handler: Callable[[Streams, Rule], ASGIApp]
    rule: Rule


ENDPOINTS = (
    # Uploads
    Endpoint("POST", "/uploads", create_upload, WRITES, 201, also=(200,)),
    Endpoint("POST", "/uploads/batch", create_uploads, WRITES, 201, batch=True),
    Endpoint("GET", "/uploads/{document_id}/parts", list_parts, edits(DOCUMENT), also=(409,)),
    Endpoint("POST", "/uploads/{document_id}/parts", sign_parts, edits(DOCUMENT)),
    Endpoint("POST", "/uploads/{document_id}/complete", complete_upload, edits(DOCUMENT)),
    Endpoint("DELETE", "/uploads/{document_id}", abort_upload, edits(DOCUMENT)),
    # Tasks
    Endpoint("GET", "/tasks", list_tasks, READS, also=(404,)),
    Endpoint("GET", "/tasks/stats", read_stats, READS, also=(404,)),  # before the one that would take it for an id
    Endpoint("GET", "/tasks/{task_id}", get_task, reads(TASK)),
    Endpoint("GET", "/tasks/{task_id}/status", get_task, reads(TASK)),
    Endpoint("POST", "/tasks/{task_id}/cancel", cancel_task, edits(TASK), 202),
    Endpoint("POST", "/tasks/{task_id}/retry", retry_task, edits(TASK), 202),
    # Documents
    Endpoint("GET", "/documents", list_documents, READS, also=(404, 409)),
    Endpoint("GET", "/documents/{document_id}", get_document, reads(DOCUMENT)),
    Endpoint("PATCH", "/documents/{document_id}", change_document, edits(DOCUMENT)),
    Endpoint("DELETE", "/documents/{document_id}", delete_document, deletes(DOCUMENT), 202),
    Endpoint("GET", "/documents/{document_id}/download", download, reads(DOCUMENT), also=(307, 409)),
    Endpoint("GET", "/documents/{document_id}/text", read_text, reads(DOCUMENT), also=(409,)),
    Endpoint("GET", "/documents/{document_id}/chunks", read_chunks, reads(DOCUMENT), also=(409,)),
    Endpoint("POST", "/documents/{document_id}/reprocess", reprocess_document, edits(DOCUMENT), 202),
    # Knowledge bases
    Endpoint("POST", "/knowledge-bases", create_base, WRITES, 201),
    Endpoint("GET", "/knowledge-bases", list_bases, READS),
    Endpoint("GET", "/knowledge-bases/{knowledge_base_id}", get_base, reads(BASE)),
    Endpoint("PATCH", "/knowledge-bases/{knowledge_base_id}", change_base, owns(BASE)),
    Endpoint("DELETE", "/knowledge-bases/{knowledge_base_id}", delete_base, owns(BASE), 202),
    Endpoint("POST", "/knowledge-bases/{knowledge_base_id}/reindex", reindex_base, owns(BASE), 202),
    Endpoint("GET", "/knowledge-bases/{knowledge_base_id}/members", list_members, reads(BASE)),
    Endpoint("PUT", "/knowledge-bases/{knowledge_base_id}/members/{user_id}", put_member, owns(BASE)),
    Endpoint("DELETE", "/knowledge-bases/{knowledge_base_id}/members/{user_id}", remove_member, leaves(BASE), 204),
    Endpoint("POST", "/bindings", create_binding, ADMINISTERS, 201),
    Endpoint("GET", "/bindings", list_bindings, ADMINISTERS),
    Endpoint("DELETE", "/bindings/{binding_id}", delete_binding, ADMINISTERS, 204),
    # Search
    Endpoint("POST", "/search", search, READS),
    Endpoint("POST", "/knowledge-bases/{knowledge_base_id}/search", search_base, reads(BASE)),
    # People
    Endpoint("POST", "/auth/token", log_in, PUBLIC, also=(401,)),
    Endpoint("POST", "/auth/logout", log_out, WRITES, 204),
    Endpoint("GET", "/me", who_am_i, READS),
    Endpoint("POST", "/me/password", change_password, WRITES, 204),
    Endpoint("POST", "/keys", create_key, WRITES, 201),
    Endpoint("GET", "/keys", list_keys, READS),
    Endpoint("DELETE", "/keys/{prefix}", revoke_key, WRITES, 204),
    Endpoint("POST", "/users", create_user, ADMINISTERS, 201),
    Endpoint("GET", "/users", list_users, ADMINISTERS),
    Endpoint("GET", "/users/{user_id}", read_user, ADMINISTERS),
    Endpoint("PATCH", "/users/{user_id}", change_user, ADMINISTERS),
    Endpoint("DELETE", "/users/{user_id}", remove_user, ADMINISTERS),
    Endpoint("GET", "/audit", list_audit, ADMINISTERS),
    # Dead letters
    Endpoint("GET", "/dead-letters", list_dead_letters, ADMINISTERS),
    Endpoint("POST", "/dead-letters/redrive", redrive_dead_letters, ADMINISTERS),
    Endpoint("GET", "/dead-letters/{letter_id}", read_dead_letter, ADMINISTERS),
    Endpoint("DELETE", "/dead-letters/{letter_id}", forget_dead_letter, ADMINISTERS, 204),
    Endpoint("POST", "/dead-letters/{letter_id}/redrive", redrive_dead_letter, ADMINISTERS),
)

FORMS = (Form("POST", "/documents/upload", DocumentUpload, WRITES, 201),)

STREAMS = (
    StreamEndpoint("GET", "/tasks/{task_id}/events", TaskEvents, reads(TASK)),
    StreamEndpoint("WS", "/ws/tasks/{task_id}", TaskSocket, reads(TASK)),
)

# The source documents' clients call the same endpoints under /api.
PREFIXES = ("/v1", "/api/v1", "/api")
