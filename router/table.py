"""THE page to read first: what happens to an object, as data.

An event whose key begins with a route's prefix starts its pipeline; a pipeline runs its steps in order; a step calls
its function. Functions do not know what comes next: this table does. To add a function: write it in one file under
functions/, put one `Step` line here. A function that returns nothing hands on what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.events import ObjectCreated, ObjectEvent, ObjectRemoved
from common.pipelines import Pipeline, Step, Watch
from functions.ingest.erase import erase
from functions.ingest.extract import extract
from functions.ingest.preprocess import preprocess
from functions.ingest.remove import remove
from functions.ingest.split import split
from functions.ingest.store import store
from functions.ingest.validate import validate
from functions.ingest.vectorize import vectorize


@dataclass(frozen=True, slots=True)
class Route:
    event: type[ObjectEvent]
    prefix: str
    pipeline: Pipeline


DOCUMENT_UPLOAD = Pipeline(
    "DOCUMENT_UPLOAD",
    (
        Step("UPLOAD", weight=10),  # done by whoever puts the object
        Step("VALIDATE", validate, weight=5, timeout_seconds=600),
        Step("EXTRACT_TEXT", extract, weight=30, timeout_seconds=1500),
        Step("PREPROCESS", preprocess, weight=10, timeout_seconds=600),
        Step("SPLIT", split, weight=5, timeout_seconds=900),
        Step("VECTORIZE", vectorize, weight=30, timeout_seconds=300, batch=32),
        Step("STORE", store, weight=10, timeout_seconds=900),
    ),
)

DOCUMENT_DELETE = Pipeline(
    "DOCUMENT_DELETE",
    (
        # Whoever removes an object at the store decides there what becomes of its older versions.
        Step("ERASE", erase, weight=40, timeout_seconds=300, when_asked=True),
        Step("REMOVE", remove, weight=60, timeout_seconds=300),
    ),
)

PIPELINES = {pipeline.name: pipeline for pipeline in (DOCUMENT_UPLOAD, DOCUMENT_DELETE)}

FUNCTIONS = {step.function.__name__: step.function for p in PIPELINES.values() for step in p.steps if step.function}

ROUTES = (
    Route(ObjectCreated, "incoming/", DOCUMENT_UPLOAD),
    Route(ObjectRemoved, "incoming/", DOCUMENT_DELETE),
)


def route(event: ObjectEvent, routes: Iterable[Route] = ROUTES) -> Pipeline | None:
    """The pipeline of the first route that fits, or None: the event concerns nobody here."""
    for candidate in routes:
        if isinstance(event, candidate.event) and event.key.startswith(candidate.prefix):
            return candidate.pipeline
    return None


def watches(routes: Iterable[Route] = ROUTES) -> list[Watch]:
    """The same for who compares a bucket's listing with the documents: each prefix with what starts there."""
    routes = list(routes)
    started = {(one.event, one.prefix): one.pipeline for one in reversed(routes)}
    return [
        Watch(prefix, started[ObjectCreated, prefix], started[ObjectRemoved, prefix])
        for prefix in sorted({one.prefix for one in routes})
        if (ObjectCreated, prefix) in started and (ObjectRemoved, prefix) in started
    ]
