"""Takes over a model as sentence-transformers keep them: its manifest, made from what lies beside it, and tried.

A directory has model.onnx (or onnx/model.onnx), tokenizer.json and, as far as the model says so itself, modules.json,
1_Pooling/config.json, sentence_bert_config.json, config_sentence_transformers.json, config.json and README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from common.chunking import largest
from common.embedding import Embedder, Tokens, inputs_of
from common.errors import ConfigurationError
from common.manifest import MANIFEST, MODEL, TOKENIZER, Manifest, Pooling, checksum

FORMAT = 1

_PLACES = (MODEL, f"onnx/{MODEL}")
_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
# A vector of the text, of each token, in the order in which they are taken.
_POOLED, _HIDDEN = ("sentence_embedding",), ("last_hidden_state", "token_embeddings")
# What a module may do besides; the index compares by angle, so that lengths do not count.
_MODULES = ("Transformer", "Pooling", "Normalize")
_QUERIES, _PASSAGES = ("query",), ("passage", "document")
# Where a tokenizer says that nothing limits it.
_UNLIMITED = 1_000_000
_SENTENCES = ("The cat sleeps on the sofa.", "Did quarterly revenue fall by ten percent?")


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says of the model; None: what its directory says."""

    name: str | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None


def adopt(directory: Path, given: Given) -> Manifest:
    """Write its manifest.json, when two sentences have become two vectors. Raises `ConfigurationError` naming what is
    missing or contradicts itself; then nothing is written."""
    directory = directory.resolve()
    _refuse_further_modules(directory)
    model = next((name for name in _PLACES if (directory / name).is_file()), None)
    if model is None or not (directory / TOKENIZER).is_file():
        raise ConfigurationError(f"{directory} must hold {' or '.join(_PLACES)}, and {TOKENIZER}.")
    output, dimension, pooled = _output(directory, model)
    query, passage = _prefixes(directory)
    manifest = Manifest(
        format=FORMAT,
        name=given.name or directory.name,
        dimension=dimension,
        max_tokens=given.max_tokens or _max_tokens(directory),
        query_prefix=query if given.query_prefix is None else given.query_prefix,
        passage_prefix=passage if given.passage_prefix is None else given.passage_prefix,
        pooling="none" if pooled else given.pooling or _pooling(directory),
        licence=_licence(directory),
        source=f"adopted from {directory.name}",
        sha256={name: checksum(directory / name) for name in sorted({TOKENIZER, model, *_weights(directory, model)})},
        model=model,
        output=output,
    )
    _try(directory, manifest)
    return manifest


def _refuse_further_modules(directory: Path) -> None:
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in _json(directory, "modules.json", [])]
    if unknown := [kind for kind in kinds if kind not in _MODULES]:
        raise ConfigurationError(
            f"After its tokens' vectors the model in {directory} wants {', '.join(unknown)} (modules.json), and only "
            f"{', '.join(_MODULES)} are known. Export it to ONNX with all of it, as an output sentence_embedding."
        )


def _output(directory: Path, model: str) -> tuple[str, int, bool]:
    """Its name, the dimension, and whether it is a text's vector already."""
    try:
        session = onnxruntime.InferenceSession(directory / model, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigurationError(f"ONNX Runtime cannot open {directory / model}: {error}") from error
    inputs_of(session, directory)
    made = {one.name: one.shape for one in session.get_outputs()}
    name = next((name for name in (*_POOLED, *_HIDDEN) if name in made), None)
    if name is None:
        # Of exports that name it otherwise, what has a vector for each token.
        name = next((name for name, shape in made.items() if len(shape) == 3), None)
    if name is None:
        raise ConfigurationError(
            f"{directory / model} makes {', '.join(made)}; a vector of the text (sentence_embedding) or of each token "
            "(last_hidden_state) is needed."
        )
    dimension = made[name][-1]
    if not isinstance(dimension, int):
        dimension = _json(directory, "config.json", {}).get("hidden_size")
    if not isinstance(dimension, int):
        raise ConfigurationError(f"Neither {directory / model} nor its config.json (hidden_size) tells its dimension.")
    return name, dimension, name in _POOLED


def _pooling(directory: Path) -> Pooling:
    told = _json(directory, "1_Pooling/config.json", {})
    if told.get("include_prompt") is False:
        raise ConfigurationError(f"The model in {directory} leaves its prompts out of the mean, which is not known.")
    modes = [mode for mode, is_on in told.items() if mode.startswith("pooling_mode") and is_on is True]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        said = f"says {', '.join(modes)}" if modes else "is missing, or names none"
        raise ConfigurationError(
            f"1_Pooling/config.json in {directory} {said}: say which with --pooling, one of "
            f"{', '.join(_POOLINGS.values())}."
        )
    return _POOLINGS[modes[0]]


def _prefixes(directory: Path) -> tuple[str, str]:
    """Of queries and of passages."""
    told = _json(directory, "config_sentence_transformers.json", {})
    prompts = told.get("prompts") or {}
    usual = prompts.get(told.get("default_prompt_name")) or ""
    query, passage = (
        next((str(prompts[name]) for name in names if name in prompts), str(usual)) for names in (_QUERIES, _PASSAGES)
    )
    return query, passage


def _max_tokens(directory: Path) -> int:
    places = (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    )
    for file, field in places:
        most = _json(directory, file, {}).get(field)
        if isinstance(most, int) and 0 < most < _UNLIMITED:
            return most
    raise ConfigurationError(
        f"Nothing in {directory} tells how many tokens the model takes at once (sentence_bert_config.json, "
        "max_seq_length): say so with --max-tokens."
    )


def _licence(directory: Path) -> str:
    try:
        beginning = (directory / "README.md").read_text(errors="replace")[:2000]
    except OSError:
        beginning = ""
    found = re.search(r"^license:\s*(\S+)", beginning, re.MULTILINE)
    return found[1] if found else "not told"


def _weights(directory: Path, model: str) -> Iterator[str]:
    """Files beside the model that hold what is too large for it."""
    for path in (directory / model).parent.glob(f"{MODEL}*data"):
        yield path.relative_to(directory).as_posix()


def _try(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, embed by it, also as long a text as it says; take it back if that fails."""
    path = directory / MANIFEST
    before = path.read_bytes() if path.exists() else None
    manifest.write(directory)
    try:
        _embed(directory, manifest)
    except BaseException:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        raise


def _embed(directory: Path, manifest: Manifest) -> None:
    try:
        tokens = Tokens(directory)
        with closing(Embedder(directory, threads=1, tokens=tokens)) as embedder:
            first, second = embedder.embed_passages(_SENTENCES)
            longest = embedder.embed_query(f"{_SENTENCES[0]} " * manifest.max_tokens)
    except Exception as error:
        raise ConfigurationError(f"The model in {directory} fails at two sentences: {error}") from error
    if first.shape != (manifest.dimension,) or not np.isfinite([first, second, longest]).all():
        raise ConfigurationError(f"The model in {directory} makes no vectors of {manifest.dimension} numbers.")
    if first @ second > 1 - 1e-6:
        raise ConfigurationError(
            f"The model in {directory} makes the same vector of two sentences that have nothing in common: is "
            f"{TOKENIZER} its own?"
        )
    if largest(tokens.max_tokens) < 16:  # the least that a base may ask for: functions/http/knowledge_bases.py
        raise ConfigurationError(f"Beside its prefix the model in {directory} takes only {tokens.max_tokens} tokens.")


def _json(directory: Path, name: str, otherwise: Any) -> Any:
    try:
        found = msgspec.json.decode((directory / name).read_bytes())
    except OSError:
        return otherwise
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{directory / name} is no JSON: {error}") from error
    if not isinstance(found, type(otherwise)):
        raise ConfigurationError(f"{directory / name} is not what sentence-transformers write there.")
    return found
