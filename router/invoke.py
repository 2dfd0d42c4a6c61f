"""One function run by hand, on records from a file: `brigade invoke`. No task, no message, nothing written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from common import artifacts
from common.artifacts import Artifact
from common.context import Context, Target
from common.errors import RequestError
from common.services import Services
from router.signatures import signature_of

_NOBODY = Target(
    task_id="invoke",
    document_id="invoke",
    version=1,
    knowledge_base_id="default",
    name="invoke",
    bucket="",
    key="",
    etag="",
)


def invoke(function: Callable[..., Any], raw: bytes, services: Services) -> Iterator[bytes]:
    """What the function makes, as JSON Lines. `raw`: its input as JSON Lines, or its target where it takes none.

    Raises `RequestError` naming what does not fit.
    """
    contract = signature_of(function)
    try:
        if contract.takes.record is None:
            result = function(Context(msgspec.json.decode(raw, type=Target), services))
        else:
            records = artifacts.read(services.objects, [Artifact(inline=raw)], contract.takes.record)
            result = function(Context(_NOBODY, services), records if contract.takes.stream else next(records))
        for record in [] if result is None else result if contract.makes.stream else [result]:
            yield msgspec.json.encode(record) + b"\n"
    except (msgspec.MsgspecError, StopIteration) as error:
        taken = contract.takes if contract.takes.record else "a Target"
        raise RequestError(f"{function.__name__} takes {taken}: {error}", code="INVALID_INPUT") from error
