"""The collection: its fields, its analyzer, its indexes."""

from __future__ import annotations

from typing import Any

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient
from pymilvus.milvus_client import IndexParams

from common.common_words import COMMON_WORDS
from common.index.rows import HASH_CHARACTERS, MAX_TEXT_BYTES

# Milvus Lite lower-cases by itself and splits as the full tokenizer does: 数据 finds 数据库, postgres finds Postgres.
# It keeps punctuation as words; those that bind nothing are stopped, so that no passage is found for its commas.
_PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~，。、；：？！…—·「」『』（）《》〈〉【】〔〕“”‘’￥～　")
# Without them BM25 finds more (MRR@10 of English headings in Debian's reference: 0.565, now 0.60), and faster.
_STOPPED = sorted(COMMON_WORDS)
LITE_ANALYZER: dict[str, Any] = {
    "tokenizer": "jieba",
    "filter": [{"type": "stop", "stop_words": [*_PUNCTUATION, *_STOPPED]}],
}
# Milvus's ready-made `chinese` neither lower-cases nor keeps words such as c++ or v2.3. Needs Milvus 2.5.11.
MILVUS_ANALYZER: dict[str, Any] = {
    "tokenizer": "jieba",
    "filter": ["lowercase", "removepunct", {"type": "stop", "stop_words": _STOPPED}],
}

# Counts the changes of the fields, and of what is written into them: another number, another collection.
SCHEMA = 2


def indexes(*, lite: bool) -> dict[str, dict[str, Any]]:
    """How each searched field is indexed."""
    # On Milvus Lite AUTOINDEX is a graph that looks at the nearest 64 and then at the filter: of one document's hundred
    # passages among 10,000 it found two. FLAT looks at all. Vectors have length one: their inner product is their
    # cosine, at half the time.
    dense = ("FLAT", "IP") if lite else ("AUTOINDEX", "COSINE")
    kinds = {"dense": dense, "sparse": ("SPARSE_INVERTED_INDEX", "BM25")}
    return {field: {"index_type": kind, "metric_type": metric} for field, (kind, metric) in kinds.items()}


def collection_schema(dimension: int, *, lite: bool, model: str = "") -> CollectionSchema:
    """`model`: its name, for people who look at the collection; Milvus Lite keeps no descriptions."""
    description = f"Bucket Brigade's passages, embedded by {model}" if model else ""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    # <document_id>:<version>:<chunk>
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=96)
    schema.add_field("knowledge_base_id", DataType.VARCHAR, max_length=64, is_partition_key=True)
    schema.add_field("document_id", DataType.VARCHAR, max_length=64)
    schema.add_field("version", DataType.INT32)
    schema.add_field("chunk", DataType.INT32)
    schema.add_field("page", DataType.INT32)
    schema.add_field("start", DataType.INT64)
    schema.add_field("end", DataType.INT64)
    # Of `passage`, the headings and their newlines: what follows is the chunk's text.
    schema.add_field("skip", DataType.INT32)
    schema.add_field("places", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    schema.add_field("hash", DataType.VARCHAR, max_length=HASH_CHARACTERS)
    schema.add_field(
        "passage",
        DataType.VARCHAR,
        max_length=MAX_TEXT_BYTES,
        enable_analyzer=True,
        analyzer_params=LITE_ANALYZER if lite else MILVUS_ANALYZER,
    )
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["passage"], ["sparse"]))
    return schema


def index_params(field: str, index: dict[str, Any]) -> IndexParams:
    params = MilvusClient.prepare_index_params()
    params.add_index(field, index_name=field, **index)
    return params


def dimension_of(description: dict[str, Any]) -> int:
    """The dimension of a collection that exists, from Milvus's description of it."""
    (dense,) = (field for field in description["fields"] if field["name"] == "dense")
    return int(dense["params"]["dim"])
