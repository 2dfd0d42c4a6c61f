"""What schemathesis must know of this API that a schema cannot say."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from schemathesis import Case, Response
from schemathesis.checks import CheckContext
from schemathesis.hooks import HookContext
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Refusals of what fits the schema: an opaque cursor that nobody gave, a name of dots, two numbers that do not fit.
_UNSAYABLE = {"INVALID_CURSOR", "INVALID_FILENAME", "INVALID_NAME", "TOO_LARGE"}
# 5.0 is an integer to JSON Schema, and a float to everybody else.
_FLOAT = "Expected `int`, got `float`"
# One of several fields must be given, and no more.
_WHICH = "Say which"


@schemathesis.check
def what_fits_the_schema_is_accepted(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    if 400 <= response.status_code < 500:
        error = response.json()["error"]
        said = any(words in error["message"] for words in (_FLOAT, _WHICH))
        if response.status_code == 422 or error["code"] in _UNSAYABLE or said:
            return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.hook
def filter_path_parameters(_context: HookContext, path_parameters: dict[str, Any] | None) -> bool:
    """Nobody saws off the branch that they sit on: neither the key of this run, nor its user."""
    own = {os.environ["BRIGADE_API_KEY"][:12], "admin"}
    return not own & set(map(str, (path_parameters or {}).values()))
