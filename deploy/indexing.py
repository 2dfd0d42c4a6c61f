"""The collection of the present model: made by `brigade migrate`, and never mixed with another model's."""

from __future__ import annotations

import structlog

from common import reindexing
from common.errors import ConfigurationError
from common.reindexing import Noted
from common.services import Services

log = structlog.get_logger()

COMMAND = "brigade migrate --new-model"


def prepare_index(services: Services, *, new_model: bool) -> None:
    """Make the collection, and note that it is the one to be written.

    Where another has rows of the same model, by an older schema, they are made again in the new one; of another model
    only if that is asked for: it takes as long as it took to ingest everything. Raises `ConfigurationError`.
    """
    index = services.index
    wanted = Noted(index.name, index.manifest.name, index.model)
    with services.database.transaction() as connection:
        now = reindexing.current(connection)
    if now == wanted:
        index.ensure()
        return
    held = {name: rows for name in index.others() if (rows := index.rows(name))}
    if held and not new_model and not _is_same_model(services, now, held):
        raise _refusal(now, wanted, held)
    index.ensure()
    with services.database.transaction() as connection:
        reindexing.note(connection, wanted)
        if held:
            bases = reindexing.mark(connection)
            log.info("index.changes_over", collection=wanted.collection, rows=sum(held.values()), knowledge_bases=bases)


def _is_same_model(services: Services, now: Noted | None, held: dict[str, int]) -> bool:
    """The first release noted no model: who goes on with theirs has one of the same dimension."""
    if now is not None:
        return now.fingerprint == services.index.model
    dimension = services.index.manifest.dimension
    return all(services.index.dimension(name) == dimension for name in held)


def _refusal(now: Noted | None, wanted: Noted, held: dict[str, int]) -> ConfigurationError:
    before = f"{now.model} ({now.collection})" if now else f"another model ({', '.join(held)})"
    return ConfigurationError(
        f"The index holds {sum(held.values()):,} passages embedded by {before}; BRIGADE_MODEL_DIR is {wanted.model} "
        f"({wanted.collection}), and vectors of two models cannot be compared. `{COMMAND}`, on the local stack "
        "`brigade up --new-model`, processes all documents again with it, while search goes on; or point "
        "BRIGADE_MODEL_DIR at the model of before.",
        code="OTHER_MODEL",
    )
