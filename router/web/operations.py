"""The calls as a description of them needs: what each takes and answers, and the ways in which it can be refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from router.web.contract import answer_of, contract_of
from router.web.endpoints import Endpoint, Form, StreamEndpoint
from router.web.form_reader import FILE

JSON = "application/json"

# Sections of the page, by the first word of a path.
_TAGS = {
    "uploads": "Uploads",
    "documents": "Documents",
    "tasks": "Tasks",
    "knowledge-bases": "Knowledge bases",
    "bindings": "Knowledge bases",
    "search": "Search",
    "dead-letters": "Operation",
}
_PEOPLE = "People"
_CREDENTIALS = ("token", "key")

# How any call can end that is let in by a credential; how one can that asks for a body, a query or an id.
_ADMITTED = (401, 403, 429, 503)
_OF_BODIES = (400, 404, 408, 413, 415, 422)
_OF_QUERIES = (400,)
_OF_PATHS = (404,)
_OF_CHANGES = (409, 422)


@dataclass(frozen=True, slots=True)
class Operation:
    """`body`, `query` and `answer` are types; None: there is none. `refusals`: the error statuses it can answer.

    `scheme` names the security scheme of its credential. `other`: answers besides the usual one, by status. `file`: the
    part of a form that is one; the others are the fields of `body`.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str = ""
    scheme: tuple[str, ...] = ()
    query: Any = None
    body: Any = None
    file: str = ""
    status: int = 200
    answer: Any = None
    answer_type: str = JSON
    refusals: tuple[int, ...] = ()
    other: Mapping[int, tuple[str, Any]] = field(default_factory=dict)

    @property
    def parameters(self) -> list[str]:
        """Those of the path."""
        return re.findall(r"{(\w+)}", self.path)


def of_table(endpoints: Iterable[Endpoint], prefix: str) -> list[Operation]:
    """Each line of the table under the prefix. A handler that serves two paths names the second by its last word."""
    made: list[Operation] = []
    names: set[str] = set()
    for endpoint in endpoints:
        name = endpoint.handler.__name__
        if name in names:
            words = re.findall(r"\w+", re.sub(r"{\w+}", "", endpoint.path))
            name = f"{name}_{words[-1] if words[-1] not in name else words[0]}"
        names.add(name)
        made.append(_operation(endpoint, prefix, name))
    return made


def _operation(endpoint: Endpoint, prefix: str, name: str) -> Operation:
    contract = contract_of(endpoint.handler)
    summary, description = told(endpoint.handler)
    return Operation(
        method=endpoint.method,
        path=prefix + endpoint.path,
        name=name,
        tag=_TAGS.get(endpoint.path.split("/")[1], _PEOPLE),
        summary=summary,
        description=description,
        scheme=_CREDENTIALS if endpoint.rule.scope else (),
        query=contract.query,
        body=contract.body,
        status=endpoint.status,
        answer=contract.answer,
        other={status: (JSON, contract.answer) for status in endpoint.also if status < 400},
        refusals=_refusals(endpoint),
    )


def of_forms(forms: Iterable[Form], prefix: str) -> list[Operation]:
    return [
        Operation(
            form.method,
            prefix + form.path,
            "upload_document",
            _TAGS["uploads"],
            "Send a document in a form: for clients that cannot PUT it to the store",
            inspect.getdoc(form.handler.form) or "",
            scheme=_CREDENTIALS,
            body=form.handler.form,
            file=FILE,
            status=form.status,
            answer=answer,
            other={200: (JSON, answer)},
            refusals=tuple(sorted({*_ADMITTED, *_OF_BODIES, *_OF_CHANGES})),
        )
        for form in forms
        for answer in [answer_of(form.handler.finish)]
    ]


class _StreamQuery(msgspec.Struct):
    """Browsers set no headers on event streams."""

    token: Annotated[str, msgspec.Meta(description="The credential, if no header holds it.")] | None = None


def of_streams(streams: Iterable[StreamEndpoint], prefix: str) -> list[Operation]:
    """Those that are HTTP: OpenAPI has no words for WebSockets."""
    return [
        Operation(
            "GET",
            prefix + stream.path,
            "task_events",
            _TAGS["tasks"],
            "A task's state at once and at every change, as server-sent events",
            "Events are `task_update`, their data the task. `Last-Event-ID` spares the state that is known already; "
            "204: there will be no other.",
            scheme=_CREDENTIALS,
            query=_StreamQuery,
            answer=Any,  # OpenAPI 3.1 has no words for events
            answer_type="text/event-stream",
            other={204: ("", None)},
            refusals=tuple(sorted({*_ADMITTED, *_OF_PATHS})),
        )
        for stream in streams
        if stream.method == "GET"
    ]


def told(documented: Any) -> tuple[str, str]:
    """A docstring's first sentence, without its full stop, and the rest."""
    summary, stop, rest = (inspect.getdoc(documented) or "").partition(".")
    return " ".join(summary.split()), rest.strip() if stop else ""


def _refusals(endpoint: Endpoint) -> tuple[int, ...]:
    contract = contract_of(endpoint.handler)
    found = {503, 429, *(status for status in endpoint.also if status >= 400)}
    for applies, statuses in (
        (endpoint.rule.scope, _ADMITTED),
        ("{" in endpoint.path, _OF_PATHS),
        (contract.body, _OF_BODIES),
        (contract.query, _OF_QUERIES),
        (endpoint.method != "GET", _OF_CHANGES),
    ):
        if applies:
            found.update(statuses)
    return tuple(sorted(found))
