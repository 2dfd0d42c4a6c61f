"""/openapi.json: OpenAPI 3.1, from the endpoint table and the very types that decode requests and encode answers.

The library is msgspec: `schema_components` makes the JSON Schema of a type, so description and behaviour are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from router.web.examples import EXAMPLES
from router.web.operations import JSON, Operation
from router.web.replies import ErrorView

_SCHEMAS = "#/components/schemas/{name}"

_ABOUT = """Documents dropped into a bucket become searchable: announce one, put its bytes, watch its task, search.

Everything under `/v1` is also under `/api/v1` and `/api`. Send an access token or an API key as
`Authorization: Bearer …`, or an API key as `X-API-Key`. Every error has the one shape `{"error": {code, message,
timestamp, details}}`. Lists come in pages: ask for the next with `cursor`, the `next_cursor` of the one before.
`X-Request-Id`, given or made, is in every answer and in the server's log. How many requests a credential may make is
counted by each of the server's processes.

Live: the WebSocket `/v1/ws/tasks/{task_id}?token=…` (the token also as a subprotocol, or as the first message
`{"token": "…"}`) sends `{"event": "task_update", "data": task}` at once and at every change; it takes
`{"command": "ping"}`, answered `{"command": "pong"}`, and `{"command": "cancel"}`. It closes with 4001 for a token that
is not good, 4003 for a task that is not yours, 4004 for one that does not exist."""

_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of `POST /v1/auth/token`, or an API key.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    "events": {"type": "http", "scheme": "bearer", "description": "The store's own token: BRIGADE_EVENTS_TOKEN."},
}

_REFUSALS = {
    400: "The request is malformed",
    401: "No credential, or none that is good",
    403: "This is not yours, or not within the credential's scopes",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "What is there does not allow this now",
    413: "The request, or what it announces, is too large",
    415: "The body is of another type",
    422: "Understood, and refused",
    429: "Too many requests",
    503: "A server behind this one does not answer",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds until it is worth trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
_CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`.", "required": True, "schema": {"type": "string"}}}
_HEADERS = {401: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document, as plain values."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bucket Brigade",
            "version": version("bucket-brigade"),
            "description": _ABOUT,
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_refusal_name(status): _refusal(status, schemas) for status in _REFUSALS},
            "securitySchemes": _SCHEMES,
        },
    }


class _Schemas:
    """The JSON Schemas of all types that the operations name, and of those within them."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        inlined = [shape for one in operations for shape in (one.query, one.file and one.body) if shape]
        shapes = [ErrorView, *inlined]
        for operation in operations:
            shapes += [operation.body, operation.answer, *(shape for _, shape in operation.other.values())]
        shapes = [shape for shape in shapes if shape is not None]
        made, self.components = msgspec.json.schema_components(shapes, ref_template=_SCHEMAS)
        self._of: dict[str, Any] = {repr(shape): schema for shape, schema in zip(shapes, made, strict=True)}
        _as_ecma(self._of)
        _as_ecma(self.components)
        # Queries and forms are no values of their own: their fields become parameters, or parts beside the file.
        self._fields: dict[str, Any] = {repr(shape): self.components[_name(self.of(shape))] for shape in inlined}
        for schema in self._fields.values():
            self.components.pop(schema["title"], None)

    def of(self, shape: Any) -> Any:
        return self._of[repr(shape)]

    def demands(self, shape: Any) -> bool:
        """Whether it has to be sent: a body of which nothing must be told may be left out."""
        if repr(shape) in self._fields:
            return True
        schema = self.of(shape)
        return bool(self.components[_name(schema)]["required"]) if "$ref" in schema else True

    def fields_of(self, shape: Any) -> Any:
        return self._fields[repr(shape)]


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _as_ecma(schema: Any) -> None:
    r"""Python's `\Z`, which no line's end escapes, is `$` in the regular expressions of JSON Schema, and `(?a)` is
    what they do anyway. A set is read from a list that may hold a value twice."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            schema["pattern"] = schema["pattern"].replace(r"\Z", "$").removeprefix("(?a)")
        schema.pop("uniqueItems", None)
        for value in schema.values():
            _as_ecma(value)
    elif isinstance(schema, list):
        for value in schema:
            _as_ecma(value)


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": _parameters(operation, schemas),
        "responses": _responses(operation, schemas),
        "security": [{scheme: []} for scheme in operation.scheme],
    }
    if operation.body is not None:
        made["requestBody"] = {"required": schemas.demands(operation.body), "content": _body(operation, schemas)}
    return made


def _body(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    if not operation.file:
        return {JSON: _content(schemas.of(operation.body), operation.name, "body")}
    form = schemas.fields_of(operation.body)
    part = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    # Pages send all fields that they have, and those that were not filled in are empty.
    fields = {name: {"anyOf": [_without_null(value), {"const": ""}]} for name, value in form["properties"].items()}
    properties = {operation.file: part, **fields}
    return {"multipart/form-data": {"schema": {**form, "properties": properties, "required": [operation.file]}}}


def _parameters(operation: Operation, schemas: _Schemas) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in operation.parameters
    ]
    if operation.query is None:
        return made
    schema = schemas.fields_of(operation.query)
    for name, value in schema["properties"].items():
        value = _without_null(value)
        parameter = {"name": name, "in": "query", "required": name in schema["required"], "schema": value}
        if description := value.pop("description", ""):
            parameter["description"] = description
        made.append(parameter)
    return made


def _without_null(schema: dict[str, Any]) -> Any:
    """Queries and forms have no null: what is not given is left out."""
    kept = {key: value for key, value in schema.items() if key != "default" or value is not None}
    choices = [choice for choice in kept.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        return kept | choices[0]
    return kept | ({"anyOf": choices} if choices else {})


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {}
    answers = {operation.status: (operation.answer_type, operation.answer), **operation.other}
    for status, (media_type, shape) in sorted(answers.items()):
        made[str(status)] = {"description": HTTPStatus(status).phrase}
        if shape is not None:
            content = _content(schemas.of(shape), operation.name, "answer" if status == operation.status else "")
            made[str(status)]["content"] = {media_type: content}
    for status in operation.refusals:
        if status not in answers:
            made[str(status)] = {"$ref": f"#/components/responses/{_refusal_name(status)}"}
    return made


def _content(schema: Any, name: str, side: str) -> dict[str, Any]:
    example = EXAMPLES.get(name, {}).get(side)
    return {"schema": schema} | ({"example": example} if example is not None else {})


def _refusal_name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _refusal(status: int, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": _REFUSALS[status],
        "content": {JSON: {"schema": schemas.of(ErrorView)}},
    }
    return made | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
