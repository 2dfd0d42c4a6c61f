"""Another model: refused until it is asked for, and then nothing is out of sight while documents change over to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import DataType, Function, FunctionType, MilvusClient
from sqlalchemy import text

from common import documents, reindexing
from common.context import Context, Target
from common.errors import ConfigurationError
from common.events import ObjectCreated
from common.index import Hit
from common.index.schema import indexes
from common.records import Chunk, EmbeddedChunk
from common.services import Services
from common.settings import Settings
from deploy.adopting import Given, adopt
from deploy.indexing import prepare_index
from functions.ingest.store import store
from functions.ingest.vectorize import vectorize
from functions.schedule.reindex import reindex
from functions.schedule.tidy import clear
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD
from tests.tiny_model import build

pytestmark = pytest.mark.integration


class Deployment:
    """One that has a model: what its processes do, without processes."""

    def __init__(self, settings: Settings, model_dir: Path, previous: Path | None = None) -> None:
        changed = {"model_dir": model_dir, "previous_model_dir": previous, "lease_seconds": 1e-9}
        self.services = Services(settings.model_copy(update=changed))
        self.index = self.services.index

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.services.database.transaction() as connection:
            return list(connection.execute(text(statement), values).all())

    def arrive(self) -> Target:
        key = f"incoming/{uuid4()}-drop/a.txt"
        event = ObjectCreated("b", key, f"{1:032X}", etag="e", size=5)
        with self.services.database.transaction() as connection:
            (ready,) = documents.arrive(connection, event, DOCUMENT_UPLOAD, DOCUMENT_DELETE)
        return self.target(ready.task_id)

    def target(self, task_id: str) -> Target:
        ((document, version),) = self.sql("SELECT document_id, version FROM tasks WHERE id = :id", id=task_id)
        return Target(task_id, document, version, "default", "a.txt", "b", "key", "e")

    def vectorize(self, target: Target, *texts: str) -> list[EmbeddedChunk]:
        chunks = [Chunk(number, 1, 0, len(text), text, ("the",)) for number, text in enumerate(texts)]
        return list(vectorize(Context(target, self.services), chunks))

    def store(self, target: Target, chunks: list[EmbeddedChunk]) -> None:
        """The last step, and so the task's end."""
        context = Context(target, self.services)
        store(context, chunks)
        self.sql(
            """
            WITH task AS (UPDATE tasks SET status = 'COMPLETED', completed_at = clock_timestamp() WHERE id = :id)
            UPDATE task_details SET status = 'COMPLETED', details = CASE WHEN step_name = 'STORE'
                THEN jsonb_build_object('vectors', :vectors ::int, 'collection', :collection ::text) ELSE '{}' END
            WHERE task_id = :id RETURNING 1
            """,
            id=target.task_id,
            **context.details,
        )

    def ingest(self, *texts: str) -> Target:
        target = self.arrive()
        self.store(target, self.vectorize(target, *texts))
        return target

    def again(self, target: Target, *texts: str) -> Target:
        """What the tick has begun for the document ends; what was before it is cleared away."""
        ((task_id,),) = self.sql(
            "SELECT id FROM tasks WHERE document_id = :id AND status = 'RUNNING'", id=target.document_id
        )
        newer = self.target(task_id)
        self.store(newer, self.vectorize(newer, *texts))
        clear(self.services, target.task_id)
        return newer

    def tick(self) -> None:
        reindex(self.services, DOCUMENT_UPLOAD)

    def find(self, query: str, mode: Any = "hybrid") -> list[Hit]:
        vector = self.services.embedder.embed_query(query)
        previous = self.services.previous_embedder.embed_query(query) if self.index.wants_previous else None
        return self.index.search(
            query, vector, previous=previous, depth=9, mode=mode, knowledge_base_ids=["default"]
        ).hits

    def found(self, query: str, mode: Any = "hybrid") -> dict[str, tuple[str, ...]]:
        """By document, which lists have it."""
        return {hit.document_id: hit.found_by for hit in self.find(query, mode)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("models")
    old, new = build(directory / "old", seed=1, dimension=4), build(directory / "new", seed=2, dimension=6)
    for one in (old, new):
        adopt(one, Given())
    return old, new


@pytest.fixture
def before(settings: Settings, models: tuple[Path, Path]) -> Iterator[Deployment]:
    deployment = Deployment(settings, models[0])
    with closing(deployment.services):
        prepare_index(deployment.services, new_model=False)
        yield deployment


@pytest.fixture
def after(settings: Settings, models: tuple[Path, Path], before: Deployment) -> Iterator[Deployment]:
    """The same with the new model; nobody has prepared anything for it."""
    deployment = Deployment(settings, models[1])
    with closing(deployment.services):
        yield deployment


def test_another_model_is_refused_with_both_names_and_the_command(before: Deployment, after: Deployment) -> None:
    prepare_index(before.services, new_model=False)
    before.ingest("red green")
    with pytest.raises(ConfigurationError) as caught:
        prepare_index(after.services, new_model=False)
    said = caught.value.message
    assert f"1 passages embedded by old ({before.index.name})" in said
    assert f"is new ({after.index.name})" in said
    assert "`brigade migrate --new-model`" in said
    assert after.index.others() == [before.index.name], "nothing was made"
    with pytest.raises(ConfigurationError, match="brigade migrate"):
        after.find("red")
    assert list(before.found("red")) != []


def test_an_index_that_holds_nothing_changes_over_without_a_word(before: Deployment, after: Deployment) -> None:
    prepare_index(after.services, new_model=False)
    after.tick()
    assert after.index.others() == []
    assert after.sql("SELECT 1 FROM knowledge_bases WHERE reindex_before IS NOT NULL") == []
    assert [row.name for row in after.sql("SELECT name FROM collections")] == [after.index.name]


def test_nothing_is_out_of_sight_while_documents_change_over(
    before: Deployment, after: Deployment, settings: Settings, models: tuple[Path, Path]
) -> None:
    first, second = before.ingest("red green"), before.ingest("red blue")
    late = before.arrive()
    half = before.vectorize(late, "red cat")
    prepare_index(after.services, new_model=True)
    prepare_index(after.services, new_model=False)  # the next `brigade migrate` finds nothing to do
    everything = {first.document_id, second.document_id}
    assert after.found("red") == dict.fromkeys(everything, ("keyword",)), "by its words, as the old model is away"
    assert after.found("red", "dense") == {}
    both = Deployment(settings, models[1], previous=models[0])
    with closing(both.services):
        assert both.found("red") == dict.fromkeys(everything, ("dense", "keyword"))
        # What the old model has begun the new one ends, by its own vectors; what comes meanwhile is the new one's.
        both.store(late, half)
        fresh = both.ingest("red sofa")
        assert both.found("red") == dict.fromkeys(
            everything | {late.document_id, fresh.document_id}, ("dense", "keyword")
        )
        assert {chunk[:2] for page in both.index.chunks() for chunk in page} == {
            (one.document_id, 1) for one in (first, second, late, fresh)
        }
        assert both.index.get([(first.document_id, 1, 0)])[0].text == "red green"
        both.tick()
        newer = both.again(first, "red green")
        assert both.index.ids(first.document_id) == [f"{newer.document_id}:2:0"], "the old one was cleared away"
        both.tick()
        assert both.index.others() == [before.index.name], "the second still shows from there"
        both.again(second, "red blue")
        both.again(late, "red cat")
        assert both.index.count(second.document_id) == 1
        both.tick()  # finds that nothing remains,
        both.tick()  # and that nothing needs the collection
        assert both.index.others() == []
        assert set(both.found("red", "dense")) == everything | {late.document_id, fresh.document_id}
    assert set(after.found("red", "keyword")) == everything | {late.document_id, fresh.document_id}, (
        "who listed it a moment ago is not disturbed"
    )


def test_what_an_old_worker_ends_late_is_found_and_changes_over_as_well(before: Deployment, after: Deployment) -> None:
    before.ingest("red green")
    late = before.arrive()
    prepare_index(after.services, new_model=True)
    after.tick()
    before.store(late, before.vectorize(late, "blue"))
    assert after.found("blue", "keyword") == {late.document_id: ("keyword",)}
    after.tick()
    newer = after.again(late, "blue")
    assert newer.version == 2
    assert after.found("blue", "dense")[late.document_id] == ("dense",)


def test_who_goes_back_to_the_model_of_before_asks_for_that_too(before: Deployment, after: Deployment) -> None:
    before.ingest("red green")
    prepare_index(after.services, new_model=True)
    late = after.ingest("blue")
    with pytest.raises(ConfigurationError, match=rf"embedded by new \({after.index.name}\)"):
        prepare_index(before.services, new_model=False)
    prepare_index(before.services, new_model=True)
    with before.services.database.transaction() as connection:
        noted = reindexing.current(connection)
    assert noted is not None
    assert noted.collection == before.index.name
    before.sql("UPDATE knowledge_bases SET reindex_before = NULL RETURNING 1")
    began = "SELECT 1 FROM tasks WHERE document_id = :id AND version > 1"
    after.tick()
    assert after.index.others() == [before.index.name]
    assert after.sql(began, id=late.document_id) == [], "a scheduler with the other model has no say any more"
    before.tick()
    assert before.sql(began, id=late.document_id) == [(1,)]


def test_a_document_that_is_deleted_leaves_all_collections(before: Deployment, after: Deployment) -> None:
    one = before.ingest("red green")
    prepare_index(after.services, new_model=True)
    after.store(one, after.vectorize(one, "red green"))
    assert before.index.ids(one.document_id) == [f"{one.document_id}:1:0"], "of one version in one collection only"
    before.store(one, before.vectorize(one, "red green"))
    after.index.delete_document(one.document_id)
    assert after.index.count(one.document_id) == before.index.count(one.document_id) == 0


@pytest.fixture
def first_release(settings: Settings, before: Deployment) -> Deployment:
    """What the first release left: a collection of another schema, and no word of it in Postgres."""
    milvus = MilvusClient(settings.milvus_uri)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=96)
    for name in ("knowledge_base_id", "document_id"):
        schema.add_field(name, DataType.VARCHAR, max_length=64, is_partition_key=name == "knowledge_base_id")
    for name in ("version", "chunk", "page"):
        schema.add_field(name, DataType.INT32)
    for name in ("start", "end"):
        schema.add_field(name, DataType.INT64)
    schema.add_field(
        "text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params={"tokenizer": "jieba"}
    )
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    params = MilvusClient.prepare_index_params()
    for field, options in indexes(lite=False).items():
        params.add_index(field, index_name=field, **options)
    milvus.create_collection(settings.collection, schema=schema, index_params=params)
    row = {"id": "d:1:0", "knowledge_base_id": "default", "document_id": "d", "version": 1, "chunk": 0, "page": 3}
    vector = before.services.embedder.embed_query("red green")
    milvus.upsert(settings.collection, [row | {"start": 0, "end": 9, "text": "red green", "dense": np.asarray(vector)}])
    milvus.close()
    before.sql("DELETE FROM collections RETURNING 1")
    return before


def test_the_first_releases_collection_is_read_and_changes_over_by_itself(first_release: Deployment) -> None:
    prepare_index(first_release.services, new_model=False)
    assert first_release.sql("SELECT 1 FROM knowledge_bases WHERE reindex_before IS NOT NULL") != []
    (hit,) = first_release.find("red green")
    assert hit == Hit("d", 1, 0, 3, 0, 9, "red green", score=hit.score, found_by=("dense", "keyword"))
    assert first_release.index.get([("d", 1, 0)])[0].text == "red green"
    first_release.tick()
    first_release.tick()
    assert first_release.index.others() == [], "no version that shows is in it"


def test_with_a_model_of_another_dimension_the_first_releases_is_refused(
    first_release: Deployment, after: Deployment
) -> None:
    with pytest.raises(ConfigurationError, match=r"embedded by another model \(test_\w+\)"):
        prepare_index(after.services, new_model=False)


def test_a_collection_that_is_written_is_not_dropped(before: Deployment) -> None:
    with pytest.raises(ValueError, match="is written"):
        before.index.drop(before.index.name)
