"""A typed client of the HTTP API: `with Client(url, key) as brigade: brigade.upload(path)`."""

from deploy.client.client import Client, content_type
from deploy.client.shapes import TERMINAL, Answer, Hit, Readiness, Step, Task, Ticket
from deploy.client.store import UploadRefused
from deploy.client.transport import ApiError

__all__ = [
    "TERMINAL",
    "Answer",
    "ApiError",
    "Client",
    "Hit",
    "Readiness",
    "Step",
    "Task",
    "Ticket",
    "UploadRefused",
    "content_type",
]
