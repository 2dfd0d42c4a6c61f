"""`--filter` of the command line, made into the API's filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import typer

from common.document_filters import FIELDS

HELP = (
    "Only documents of which this holds, as file_type=pdf, 'created_at>=2026-01-31' or metadata.author=Li; != < <= > "
    "compare too, ~ means contains. Or the API's JSON, as '{\"any\": […]}'. Can be given again: then all must hold."
)

_COMPARISON = re.compile(r"(?P<field>[^=!<>~]+)(?P<sign>!=|<=|>=|[=<>~])(?P<value>.*)", re.DOTALL)
_OPERATORS = {"=": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "~": "contains"}


def parse(given: Sequence[str]) -> dict[str, Any] | None:
    """All of these together; None: there are none. Raises `BadParameter` naming the one that is no filter."""
    filters = [_json(one) if one.lstrip().startswith("{") else _comparison(one) for one in given]
    return {"all": filters} if len(filters) > 1 else filters[0] if filters else None


def _json(told: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(told, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise typer.BadParameter(f"The filter {told} is no JSON object: {error}.") from error


def _comparison(told: str) -> dict[str, Any]:
    found = _COMPARISON.fullmatch(told)
    if found is None:
        raise typer.BadParameter(
            f"{told!r} is no filter: write FIELD=VALUE, or another sign ({' '.join(_OPERATORS)}), or a JSON object."
        )
    field, value = found["field"].strip(), found["value"].strip()
    return {field: {_OPERATORS[found["sign"]]: _value(field, value)}}


def _value(field: str, told: str) -> Any:
    """As the field's type has it; of a field that only the API may know, the number or truth that it looks like."""
    kind = FIELDS[field].type if field in FIELDS else None
    if kind is str:
        return told
    if kind is int:
        try:
            return int(told)
        except ValueError as error:
            raise typer.BadParameter(f"{field} is compared with a whole number, and {told!r} is none.") from error
    if kind is datetime:
        return _moment(field, told)
    try:
        return msgspec.json.decode(told, type=bool | int | float | str | None)
    except msgspec.MsgspecError:
        return told


def _moment(field: str, told: str) -> str:
    """A day begins at midnight where this computer is, as do hours without a zone."""
    try:
        return datetime.fromisoformat(told).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        example = "2026-01-31 or 2026-01-31T12:00:00Z"
        raise typer.BadParameter(f"{field} is compared with a time such as {example}, and {told!r} is none.") from error
