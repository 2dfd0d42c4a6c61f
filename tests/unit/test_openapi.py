"""The description that clients and their generators read: true to the table, to the types, and to OpenAPI 3.1."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from router.web.contract import contract_of
from router.web.endpoints import ENDPOINTS, FORMS, STREAMS, Endpoint
from router.web.examples import EXAMPLES
from router.web.operations import of_table
from router.web.unprefixed import description

DOCUMENT = msgspec.json.decode(msgspec.json.encode(description()))
OPERATIONS = [(path, method, one) for path, of_path in DOCUMENT["paths"].items() for method, one in of_path.items()]


def operation(name: str) -> Any:
    return next(one for _, _, one in OPERATIONS if one["operationId"] == name)


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT)


def test_every_line_of_the_tables_is_described() -> None:
    lines = {(f"/v1{one.path}", one.method.lower()) for one in (*ENDPOINTS, *FORMS, *STREAMS) if one.method != "WS"}
    plain = {("/healthz", "get"), ("/readyz", "get"), ("/metrics", "get"), ("/events/s3", "post")}
    assert {(path, method) for path, method, _ in OPERATIONS} == lines | plain


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_handler_says_what_it_does(endpoint: Endpoint) -> None:
    assert inspect.getdoc(endpoint.handler)


def test_names_are_unique_and_fit_for_generated_clients() -> None:
    names = [one["operationId"] for _, _, one in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_every_refusal_is_of_the_one_shape_and_says_when_to_come_back() -> None:
    for name, answer in DOCUMENT["components"]["responses"].items():
        assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorView"}
        assert ("Retry-After" in answer.get("headers", {})) == (name in ("TooManyRequests", "ServiceUnavailable"))


def test_only_what_is_public_is_described_without_a_credential() -> None:
    unprotected = {one["operationId"] for _, _, one in OPERATIONS if not one["security"]}
    assert unprotected == {"log_in", "healthz", "readyz", "metrics"}
    for _, _, one in OPERATIONS:
        assert not one["security"] or "401" in one["responses"]


def test_a_query_is_described_as_parameters_and_a_form_with_its_file() -> None:
    assert "DocumentQuery" not in DOCUMENT["components"]["schemas"]
    limit = next(one for one in operation("list_documents")["parameters"] if one["name"] == "limit")
    assert limit["schema"] | {"type": "integer", "minimum": 1, "maximum": 200} == limit["schema"]
    form = operation("upload_document")["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert set(form["properties"]) > {"file", "metadata"}


def test_patterns_are_those_of_json_schema_and_not_of_python() -> None:
    text = msgspec.json.encode(DOCUMENT).decode()
    patterns = re.findall(r'"pattern":"((?:[^"\\]|\\.)*)"', text)
    assert patterns
    assert not [pattern for pattern in patterns if r"\\Z" in pattern or "(?a" in pattern]


@pytest.mark.parametrize(("name", "side"), [(name, side) for name, sides in EXAMPLES.items() for side in sides])
def test_examples_are_what_the_call_takes_and_makes(name: str, side: str) -> None:
    contracts = {
        one.name: contract_of(endpoint.handler)
        for one, endpoint in zip(of_table(ENDPOINTS, ""), ENDPOINTS, strict=True)
    }
    shape = getattr(contracts[name], side)
    msgspec.json.decode(msgspec.json.encode(EXAMPLES[name][side]), type=shape)
    unknown = EXAMPLES[name][side].keys() - {field.encode_name for field in msgspec.structs.fields(shape)}
    assert not unknown
