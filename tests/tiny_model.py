"""Embedding models of some hundred bytes, as sentence-transformers keep theirs: a word's vector is a table's row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from common.manifest import Manifest

WORDS = (
    *("[UNK]", "[CLS]", "[SEP]", "query", "passage", ":", ".", "the", "The", "cat", "sleeps", "on", "sofa"),
    *("Quarterly", "revenue", "fell", "by", "ten", "percent", "red", "green", "blue"),
)


def manifest(dimension: int = 4, name: str = "tiny", **more: Any) -> Manifest:
    """Of a model that is nowhere: for what only needs to know which it is."""
    described: dict[str, Any] = {
        "format": 1,
        "max_tokens": 64,
        "query_prefix": "",
        "passage_prefix": "",
        "pooling": "mean",
        "licence": "",
        "source": "",
        "sha256": {"model.onnx": name},
    }
    return Manifest(dimension=dimension, name=name, **{**described, **more})


def table(dimension: int, seed: int) -> NDArray[np.float32]:
    """The vector of each of the words."""
    return np.random.default_rng(seed).normal(size=(len(WORDS), dimension)).astype(np.float32)


def build(
    directory: Path,
    *,
    dimension: int = 4,
    seed: int = 0,
    pooling: str | None = "mean_tokens",
    pooled: bool = False,
    special: bool = True,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    place: str = "model.onnx",
    max_tokens: int | None = 64,
    **files: Any,
) -> Path:
    """`pooled`: the model makes the text's vector itself. `files`: more JSON files, by name."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / place).parent.mkdir(exist_ok=True)
    onnx.save(_graph(table(dimension, seed), inputs, pooled=pooled), directory / place)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    # As many are kept: cut and padded to what they were trained with.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8, pad_id=2, pad_token="[SEP]")
    tokenizer.save(str(directory / "tokenizer.json"))
    told: dict[str, Any] = {"1_Pooling/config": {f"pooling_mode_{pooling}": True} if pooling else None}
    told["sentence_bert_config"] = {"max_seq_length": max_tokens} if max_tokens else None
    for name, content in (told | files).items():
        if content is not None:
            path = directory / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
    return directory


def _graph(vectors: NDArray[np.float32], inputs: Sequence[str], *, pooled: bool) -> onnx.ModelProto:
    shape = ["batch", "tokens"]
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in inputs]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    made = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, vectors.shape[1]])
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["last_hidden_state", "axis"], ["sentence_embedding"], keepdims=0))
        made = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", vectors.shape[1]])
    constants = [numpy_helper.from_array(vectors, "table")]
    if pooled:
        constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    graph = helper.make_graph(nodes, "tiny", given, [made], constants)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model
