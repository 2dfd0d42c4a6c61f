"""THE table of the HTTP side: each call, the function that answers it, and who may make it.

To add one: write a function in functions/http/, put one line here. /openapi.json, the rights and the metrics follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.access import Subject
from functions.http.documents import get_document
from functions.http.search import search
from functions.http.tasks import get_task
from functions.http.uploads import create_upload
from router.web.rules import READS, WRITES, Rule, edits, owns, reads

Handler = Callable[..., Any]

DOCUMENT, TASK, BASE = Subject.DOCUMENT, Subject.TASK, Subject.KNOWLEDGE_BASE


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    handler: Handler
    rule: Rule
    status: int = 200


ENDPOINTS = (
    # Uploads
    Endpoint("POST", "/uploads", create_upload, WRITES, 201),
    # Tasks
    Endpoint("GET", "/tasks/{task_id}", get_task, reads(TASK)),
    Endpoint("GET", "/tasks/{task_id}/status", get_task, reads(TASK)),
    # Documents
    Endpoint("GET", "/documents/{document_id}", get_document, reads(DOCUMENT)),
    # Knowledge bases
    # Search
    Endpoint("POST", "/search", search, READS),
    # People
)

# The source documents' clients call the same endpoints under /api.
PREFIXES = ("/v1", "/api/v1", "/api")
