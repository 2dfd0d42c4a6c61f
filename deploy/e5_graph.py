"""Writes multilingual-e5-small as ONNX: token ids of one text in, a vector for each token out.

The operators are those that ONNX Runtime's CPU kernels are fastest on, some of them its own (domain com.microsoft).
Linear layers are int8, with a scale for each output; the vocabulary, two thirds of the model, stays in the 4 bits it
comes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from deploy.e5_weights import BLOCK, Weights

FUSED = "com.microsoft"
OPSET, IR_VERSION = 21, 10  # the first with INT4

# Seven bits of the eight: processors with AVX2 and no VNNI add pairs of products in 16 bits, which would overflow.
# It costs nothing that can be measured, since the weights come in 4 bits.
LARGEST_WEIGHT = 63


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node and give the name of its first output."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], domain=domain, **attributes))
        return outputs[0]


def model(weights: Weights) -> ModelProto:
    """Input `input_ids` (1, tokens) int64, output `last_hidden_state` (1, tokens, hidden) float32."""
    graph = _Graph()
    x = _embeddings(graph, weights)
    for layer in range(weights.shape.layers):
        x = _layer(graph, weights, f"l{layer}.", x)
    graph.node("Identity", [x], "last_hidden_state")
    output = ["batch", "tokens", weights.shape.hidden]
    made = helper.make_graph(
        graph.nodes,
        "multilingual-e5-small",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, output)],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)


def _embeddings(graph: _Graph, weights: Weights) -> str:
    """Word plus position plus type (always 0), normalised."""
    _vocabulary(graph, weights)
    zero, one, two = (graph.constant(f"index {i}", np.array([i], np.int64)) for i in range(3))
    hidden = weights.shape.hidden
    positions = weights.floats("emb.pos").reshape(-1, hidden) + weights.floats("emb.type")[:hidden]
    graph.constant("positions", positions)
    graph.node("Shape", ["input_ids"], "shape")
    graph.node("Slice", ["shape", one, two, zero], "tokens")
    graph.node("Slice", ["positions", zero, "tokens", zero], "position_rows")
    graph.node("Add", ["word_rows", "position_rows"], "embedded")
    scale, bias = (graph.constant(name, weights.floats(name)) for name in ("emb.ln.w", "emb.ln.b"))
    return graph.node("LayerNormalization", ["embedded", scale, bias], "x", epsilon=weights.epsilon)


def _vocabulary(graph: _Graph, weights: Weights) -> None:
    """Q4_0 is what GatherBlockQuantized reads, but for the order of nibbles: there the even one is the low one."""
    rows, hidden = weights.shape.vocabulary, weights.shape.hidden
    nibbles, scales = weights.blocks("emb.word")
    nibbles ^= 8  # from an offset of 8 to two's complement
    packed = nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)
    word = helper.make_tensor("word", TensorProto.INT4, [rows, hidden], packed.tobytes(), raw=True)
    graph.constants.append(word)
    graph.constant("word.scale", scales.reshape(rows, -1))
    inputs = ["word", "input_ids", "word.scale"]
    axes = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK}
    graph.node("GatherBlockQuantized", inputs, "word_rows", domain=FUSED, **axes)


def _layer(graph: _Graph, weights: Weights, layer: str, x: str) -> str:
    """A layer of BERT: attention and feed-forward, each added to what came in and normalised.

    Plain Gelu, Add and LayerNormalization: their kernels are vectorised, those of the fused BiasGelu and
    SkipLayerNormalization are not, and take a fifth of the whole time.
    """
    hidden, feed_forward = weights.shape.hidden, weights.shape.feed_forward

    def constant(name: str) -> str:
        return graph.constant(layer + name, weights.floats(layer + name))

    def linear(name: str, source: str, outputs: int) -> str:
        return _linear(graph, layer + name, source, weights.matrix(f"{layer}{name}.w", outputs), constant(f"{name}.b"))

    def add_and_normalise(name: str, change: str, base: str, norm: str) -> str:
        total = graph.node("Add", [change, base], f"{layer}{name}.sum")
        inputs = [total, constant(f"{norm}.w"), constant(f"{norm}.b")]
        return graph.node("LayerNormalization", inputs, layer + name, epsilon=weights.epsilon)

    attention = _attention(graph, weights, layer, x)
    x = add_and_normalise("attended", linear("ao", attention, hidden), x, "aln")
    inner = graph.node("Gelu", [linear("fi", x, feed_forward)], f"{layer}gelu")
    return add_and_normalise("out", linear("fo", inner, hidden), x, "oln")


def _attention(graph: _Graph, weights: Weights, layer: str, x: str) -> str:
    """Queries, keys and values by one product; MultiHeadAttention takes half of QAttention's time."""
    hidden = weights.shape.hidden
    matrix = np.concatenate([weights.matrix(f"{layer}{name}.w", hidden) for name in "qkv"])
    bias = graph.constant(f"{layer}qkv.b", np.concatenate([weights.floats(f"{layer}{name}.b") for name in "qkv"]))
    projected = _linear(graph, f"{layer}qkv", x, matrix, bias)
    parts = [layer + name for name in ("query", "key", "value")]
    graph.node("Split", [projected], *parts, axis=2, num_outputs=3)
    heads = weights.shape.heads
    return graph.node("MultiHeadAttention", parts, f"{layer}attention", domain=FUSED, num_heads=heads)


def _linear(graph: _Graph, name: str, source: str, matrix: NDArray[np.float32], bias: str) -> str:
    quantised, scale = _int8(graph, name, matrix)
    # The empty input is the weights' zero point: they are symmetric.
    return graph.node("DynamicQuantizeMatMul", [source, quantised, scale, "", bias], name, domain=FUSED)


def _int8(graph: _Graph, name: str, matrix: NDArray[np.float32]) -> tuple[str, str]:
    """Constants for a linear layer [out, in], as the kernels want it: [in, out], with a scale for each output."""
    scale = np.abs(matrix).max(axis=1) / LARGEST_WEIGHT
    quantised = np.round(matrix / scale[:, np.newaxis]).astype(np.int8)
    return graph.constant(f"{name}.w", quantised.T), graph.constant(f"{name}.scale", scale.astype(np.float32))


def tokenizer(weights: Weights) -> Tokenizer:
    """XLM-RoBERTa's: SentencePiece unigram over NFKC, between <s> and </s>."""
    pieces = weights.pieces
    made = Tokenizer(models.Unigram(pieces.scored, unk_id=pieces.unk, byte_fallback=False))
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), one_space])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", pieces.bos), ("</s>", pieces.eos)]
    )
    return made
