"""The grammar of search filters, from JSON to SQL: a fixed set of fields and operators, every value a bound parameter.

    {"file_type": "pdf", "created_at": {"gte": "2026-01-01T00:00:00Z"}, "metadata.author": ["Li", "Wang"],
     "any": [{"name": {"contains": "report"}}, {"not": {"metadata.draft": true}}]}

All members of an object must hold. A value is what the field equals, a list what it is one of, an object operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import msgspec

from common.errors import Refused

_MOST_CONDITIONS = 100
_DEEPEST = 6
_LONGEST_VALUE = 1000
_MOST_VALUES = 100
_METADATA = "metadata."
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OPERATORS = ("eq", "ne", "in", "not_in", *_COMPARISONS, "contains", "starts_with", "exists")


@dataclass(frozen=True, slots=True)
class Field:
    """`sql` is of a statement that has `document`, `version` (the shown one) and `judged` (what VALIDATE found)."""

    sql: str
    type: type[str] | type[int] | type[datetime] = str
    cast: str = "text"


FIELDS = {
    "document_id": Field("document.id"),
    "name": Field("document.name"),
    "user_id": Field("document.user_id"),
    "content_type": Field("version.content_type"),
    "version": Field("version.version", int, "bigint"),
    "file_size": Field("version.file_size", int, "bigint"),
    "created_at": Field("document.created_at", datetime, "timestamptz"),
    "updated_at": Field("document.updated_at", datetime, "timestamptz"),
    "file_type": Field("CAST(:file_types AS jsonb) ->> judged.media_type"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on documents in SQL, and its parameters."""

    sql: str = "true"
    parameters: Mapping[str, Any] = field(default_factory=dict)


def compile_filters(filters: Mapping[str, Any] | None, file_types: Mapping[str, str]) -> Condition:
    """`file_types`: the short name of each media type.

    Raises `Refused` (UNKNOWN_FILTER_FIELD, UNKNOWN_FILTER_OPERATOR, INVALID_FILTER, FILTER_TOO_LARGE), naming what.
    """
    if not filters:
        return Condition()
    compiler = _Compiler()
    sql = compiler.all_of(filters, depth=1)
    return Condition(sql, {**compiler.parameters, "file_types": msgspec.json.encode(file_types).decode()})


class _Compiler:
    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self._conditions = 0
        self._groups: dict[str, Callable[[Any, int], str]] = {"any": self._any, "all": self._all, "not": self._not}

    def all_of(self, filters: Any, depth: int) -> str:
        if not isinstance(filters, Mapping):
            raise _invalid("A filter is an object of fields.")
        if depth > _DEEPEST:
            raise Refused(f"Filters may be nested {_DEEPEST} deep.", code="FILTER_TOO_LARGE")
        parts = [self._member(str(name), value, depth) for name, value in filters.items()]
        return f"({' AND '.join(parts) or 'true'})"

    def _member(self, name: str, value: Any, depth: int) -> str:
        if name in self._groups:
            return self._groups[name](value, depth + 1)
        if name not in FIELDS and not (name.startswith(_METADATA) and len(name) > len(_METADATA)):
            raise Refused(
                f"There is no filter field {name[:100]!r}. There are: {', '.join(FIELDS)}, {_METADATA}<key>, and any, "
                "all, not.",
                code="UNKNOWN_FILTER_FIELD",
            )
        operators = value if isinstance(value, Mapping) else {"in" if isinstance(value, list) else "eq": value}
        if not operators:
            raise _invalid(f"The filter on {name} says nothing.")
        return " AND ".join(self._condition(name, operator, operand) for operator, operand in operators.items())

    def _any(self, value: Any, depth: int) -> str:
        return f"({' OR '.join(self._each('any', value, depth)) or 'false'})"

    def _all(self, value: Any, depth: int) -> str:
        return f"({' AND '.join(self._each('all', value, depth)) or 'true'})"

    def _not(self, value: Any, depth: int) -> str:
        # What is unknown is not so: a document without the field is let in.
        return f"(NOT coalesce({self.all_of(value, depth)}, false))"

    def _each(self, name: str, value: Any, depth: int) -> list[str]:
        if not isinstance(value, list):
            raise _invalid(f"{name!r} takes a list of filters.")
        return [self.all_of(one, depth) for one in value]

    def _condition(self, name: str, operator: str, operand: Any) -> str:
        self._conditions += 1
        if self._conditions > _MOST_CONDITIONS:
            raise Refused(f"A search takes {_MOST_CONDITIONS} filters at most.", code="FILTER_TOO_LARGE")
        if operator not in _OPERATORS:
            raise Refused(
                f"There is no filter operator {str(operator)[:100]!r}. There are: {', '.join(_OPERATORS)}.",
                code="UNKNOWN_FILTER_OPERATOR",
            )
        if name in FIELDS:
            return self._on_field(name, FIELDS[name], operator, operand)
        return self._on_metadata(name, operator, operand)

    def _on_field(self, name: str, column: Field, operator: str, operand: Any) -> str:
        if operator == "exists":
            return f"({column.sql} IS NOT NULL) = {self._bind(_boolean(name, operand), 'boolean')}"
        if operator in ("in", "not_in"):
            values = [_typed(name, column, one) for one in _list(name, operand)]
            found = f"{column.sql} = ANY({self._bind(values, f'{column.cast}[]')})"
            return found if operator == "in" else f"(NOT coalesce({found}, false))"
        if operator in ("contains", "starts_with"):
            if column.type is not str:
                raise _invalid(f"{operator} is for texts, and {name} is none.")
            return self._like(column.sql, operator, _text(name, operand))
        value = self._bind(_typed(name, column, operand), column.cast)
        if operator == "ne":
            return f"{column.sql} IS DISTINCT FROM {value}"
        return f"{column.sql} {_COMPARISONS.get(operator, '=')} {value}"

    def _on_metadata(self, name: str, operator: str, operand: Any) -> str:
        path = self._bind(name.removeprefix(_METADATA).split("."), "text[]")
        found = f"(document.metadata #> {path})"
        words = f"(document.metadata #>> {path})"
        if operator == "exists":
            return f"({found} IS NOT NULL) = {self._bind(_boolean(name, operand), 'boolean')}"
        if operator == "starts_with":
            return self._like(words, operator, _text(name, operand))
        if operator == "contains":
            # Of a list, one of its members; of a text, a part.
            part = self._like(words, operator, operand) if isinstance(operand, str) else "false"
            return (
                f"CASE jsonb_typeof({found}) WHEN 'array' THEN {found} @> {self._json(name, operand)} "
                f"WHEN 'string' THEN {part} ELSE false END"
            )
        if operator in _COMPARISONS:
            return self._compared(name, found, words, _COMPARISONS[operator], operand)
        if operator in ("in", "not_in"):
            values = [self._json(name, one) for one in _list(name, operand)]
            one_of = f"coalesce({found} IN ({', '.join(values)}), false)" if values else "false"
            return one_of if operator == "in" else f"(NOT {one_of})"
        return f"{found} IS {'' if operator == 'ne' else 'NOT '}DISTINCT FROM {self._json(name, operand)}"

    def _compared(self, name: str, found: str, words: str, sign: str, operand: Any) -> str:
        """Numbers with numbers, texts with texts by their code points, as dates in ISO 8601 are."""
        if isinstance(operand, bool) or not isinstance(operand, int | float | str):
            raise _invalid(f"The filter on {name} compares with a number or a text.")
        if isinstance(operand, str):
            value, kind, left = self._bind(_text(name, operand), "text"), "string", f'{words} COLLATE "C"'
        else:
            value, kind, left = self._bind(operand, "numeric"), "number", f"CAST({words} AS numeric)"
        return f"CASE jsonb_typeof({found}) WHEN '{kind}' THEN {left} {sign} {value} ELSE false END"

    def _like(self, sql: str, operator: str, part: str) -> str:
        escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"{'%' if operator == 'contains' else ''}{escaped}%"
        return f"{sql} ILIKE {self._bind(pattern, 'text')}"

    def _json(self, name: str, value: Any) -> str:
        if not isinstance(value, str | int | float | bool | None):
            raise _invalid(f"The filter on {name} takes texts, numbers, true, false and null.")
        if isinstance(value, str):
            _text(name, value)
        return self._bind(msgspec.json.encode(value).decode(), "jsonb")

    def _bind(self, value: Any, cast: str) -> str:
        name = f"filter_{len(self.parameters)}"
        self.parameters[name] = value
        return f"CAST(:{name} AS {cast})"


def _typed(name: str, column: Field, value: Any) -> Any:
    if column.type is str:
        return _text(name, value)
    if column.type is datetime:
        try:
            return msgspec.convert(value, _Moment)
        except msgspec.ValidationError:
            raise _invalid(f"{name} is compared with a time such as 2026-01-31T12:00:00Z.") from None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise _invalid(f"{name} is compared with a whole number.")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_VALUE or "\0" in value:
        raise _invalid(f"The filter on {name} takes a text of up to {_LONGEST_VALUE} characters.")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(f"exists takes true or false, for {name}.")
    return value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST_VALUES:
        raise _invalid(f"The filter on {name} takes a list of up to {_MOST_VALUES}.")
    return value


def _invalid(reason: str) -> Refused:
    return Refused(reason, code="INVALID_FILTER")
