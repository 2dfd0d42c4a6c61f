"""Every call that the client makes, and the shape of its answer: what the tests compare with the API's own table."""

from __future__ import annotations

from deploy.client.letter_shapes import DeadLetter, Redrive, WholeDeadLetter
from deploy.client.people_shapes import (
    AuditEntry,
    BaseDeletion,
    Binding,
    FreshKey,
    Key,
    KnowledgeBase,
    Me,
    Member,
    Removal,
    Token,
    User,
)
from deploy.client.search_shapes import Answer
from deploy.client.shapes import (
    Begun,
    Chunk,
    Document,
    Download,
    Page,
    SignedParts,
    Task,
    TaskState,
    TaskStats,
    TextPage,
    Ticket,
    UploadEnd,
    UploadProgress,
)
from deploy.client.transport import Operation

_NOTHING = type(None)

# Uploads
ANNOUNCE = Operation("POST", "/uploads", Ticket)
LIST_PARTS = Operation("GET", "/uploads/{document_id}/parts", UploadProgress, repeatable=True)
SIGN_PARTS = Operation("POST", "/uploads/{document_id}/parts", SignedParts, repeatable=True)
COMPLETE = Operation("POST", "/uploads/{document_id}/complete", UploadEnd, repeatable=True)
ABORT = Operation("DELETE", "/uploads/{document_id}", UploadEnd, repeatable=True)

# Documents
LIST_DOCUMENTS = Operation("GET", "/documents", Page[Document], repeatable=True)
GET_DOCUMENT = Operation("GET", "/documents/{document_id}", Document, repeatable=True)
CHANGE_DOCUMENT = Operation("PATCH", "/documents/{document_id}", Document, repeatable=True)
DELETE_DOCUMENT = Operation("DELETE", "/documents/{document_id}", Begun, repeatable=True)
REPROCESS = Operation("POST", "/documents/{document_id}/reprocess", Begun)
DOWNLOAD = Operation("GET", "/documents/{document_id}/download", Download, repeatable=True)
READ_TEXT = Operation("GET", "/documents/{document_id}/text", Page[TextPage], repeatable=True)
READ_CHUNKS = Operation("GET", "/documents/{document_id}/chunks", Page[Chunk], repeatable=True)

# Tasks
LIST_TASKS = Operation("GET", "/tasks", Page[Task], repeatable=True)
TASK_STATS = Operation("GET", "/tasks/stats", TaskStats, repeatable=True)
GET_TASK = Operation("GET", "/tasks/{task_id}", Task, repeatable=True)
CANCEL_TASK = Operation("POST", "/tasks/{task_id}/cancel", TaskState, repeatable=True)
RETRY_TASK = Operation("POST", "/tasks/{task_id}/retry", TaskState)
TASK_EVENTS = Operation("GET", "/tasks/{task_id}/events", Task, repeatable=True)

# Search: reads only
SEARCH = Operation("POST", "/search", Answer, repeatable=True)

# Knowledge bases
CREATE_BASE = Operation("POST", "/knowledge-bases", KnowledgeBase)
LIST_BASES = Operation("GET", "/knowledge-bases", Page[KnowledgeBase], repeatable=True)
GET_BASE = Operation("GET", "/knowledge-bases/{knowledge_base_id}", KnowledgeBase, repeatable=True)
CHANGE_BASE = Operation("PATCH", "/knowledge-bases/{knowledge_base_id}", KnowledgeBase, repeatable=True)
DELETE_BASE = Operation("DELETE", "/knowledge-bases/{knowledge_base_id}", BaseDeletion)
REINDEX_BASE = Operation("POST", "/knowledge-bases/{knowledge_base_id}/reindex", KnowledgeBase)
LIST_MEMBERS = Operation("GET", "/knowledge-bases/{knowledge_base_id}/members", Page[Member], repeatable=True)
PUT_MEMBER = Operation("PUT", "/knowledge-bases/{knowledge_base_id}/members/{user_id}", Member, repeatable=True)
REMOVE_MEMBER = Operation("DELETE", "/knowledge-bases/{knowledge_base_id}/members/{user_id}", _NOTHING)
CREATE_BINDING = Operation("POST", "/bindings", Binding)
LIST_BINDINGS = Operation("GET", "/bindings", Page[Binding], repeatable=True)
DELETE_BINDING = Operation("DELETE", "/bindings/{binding_id}", _NOTHING)

# People
LOG_IN = Operation("POST", "/auth/token", Token)
LOG_OUT = Operation("POST", "/auth/logout", _NOTHING, repeatable=True)
WHO_AM_I = Operation("GET", "/me", Me, repeatable=True)
CHANGE_PASSWORD = Operation("POST", "/me/password", _NOTHING)
CREATE_KEY = Operation("POST", "/keys", FreshKey)
LIST_KEYS = Operation("GET", "/keys", Page[Key], repeatable=True)
REVOKE_KEY = Operation("DELETE", "/keys/{prefix}", _NOTHING)
CREATE_USER = Operation("POST", "/users", User)
LIST_USERS = Operation("GET", "/users", Page[User], repeatable=True)
GET_USER = Operation("GET", "/users/{user_id}", User, repeatable=True)
CHANGE_USER = Operation("PATCH", "/users/{user_id}", User, repeatable=True)
REMOVE_USER = Operation("DELETE", "/users/{user_id}", Removal)
LIST_AUDIT = Operation("GET", "/audit", Page[AuditEntry], repeatable=True)

# Dead letters
LIST_DEAD_LETTERS = Operation("GET", "/dead-letters", Page[DeadLetter], repeatable=True)
GET_DEAD_LETTER = Operation("GET", "/dead-letters/{letter_id}", WholeDeadLetter, repeatable=True)
REDRIVE_DEAD_LETTER = Operation("POST", "/dead-letters/{letter_id}/redrive", Redrive, repeatable=True)
REDRIVE_DEAD_LETTERS = Operation("POST", "/dead-letters/redrive", Redrive, repeatable=True)
FORGET_DEAD_LETTER = Operation("DELETE", "/dead-letters/{letter_id}", _NOTHING)
