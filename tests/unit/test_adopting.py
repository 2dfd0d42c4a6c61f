"""Models as sentence-transformers keep them are taken over, each by its own settings, or refused in a sentence."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from common.embedding import Embedder, Tokens
from common.errors import ConfigurationError
from common.manifest import MANIFEST, Manifest
from deploy.adopting import Given, adopt
from deploy.cli import app
from tests.tiny_model import WORDS, build, table

NOTHING = Given()
TEXT = "red green blue"


def embedded(directory: Path, text: str = TEXT) -> NDArray[np.float32]:
    with closing(Embedder(directory, threads=1, tokens=Tokens(directory))) as embedder:
        (vector,) = embedder.embed_passages([text])
    found: NDArray[np.float32] = vector
    return found


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def rows(*words: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = table(4, seed=0)[[WORDS.index(word) for word in words]]
    return found


FRAMED = ("[CLS]", "red", "green", "blue", "[SEP]")


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean_tokens", rows("red", "green", "blue").mean(axis=0)),
        ("cls_token", rows("red")[0]),
        ("lasttoken", rows("blue")[0]),
    ],
)
def test_a_texts_vector_comes_of_its_tokens_as_the_models_pooling_says(
    tmp_path: Path, pooling: str, expected: NDArray[np.float32]
) -> None:
    directory = build(tmp_path / "m", pooling=pooling, special=False)
    adopt(directory, NOTHING)
    np.testing.assert_allclose(embedded(directory), unit(expected), atol=1e-6)
    assert np.isfinite(embedded(directory, "")).all(), "a text without a token has a vector too"


def test_special_tokens_count_as_any(tmp_path: Path) -> None:
    directory = build(tmp_path / "m")
    adopt(directory, NOTHING)
    np.testing.assert_allclose(embedded(directory), unit(rows(*FRAMED).mean(axis=0)), atol=1e-6)


def test_a_model_to_which_all_texts_are_the_same_is_refused(tmp_path: Path) -> None:
    # As this one is, of whose texts only the first token is looked at, which is always the same.
    with pytest.raises(ConfigurationError, match="the same vector of two sentences"):
        adopt(build(tmp_path / "m", pooling="cls_token"), NOTHING)


def test_a_model_that_pools_by_itself_is_taken_at_its_word(tmp_path: Path) -> None:
    directory = build(tmp_path / "m", pooled=True, pooling=None)
    made = adopt(directory, NOTHING)
    assert (made.pooling, made.output) == ("none", "sentence_embedding")
    np.testing.assert_allclose(embedded(directory), unit(rows(*FRAMED).max(axis=0)), atol=1e-6)


@pytest.mark.parametrize(
    "inputs", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids"), ("input_ids", "position_ids")]
)
def test_a_model_is_given_what_it_takes(tmp_path: Path, inputs: tuple[str, ...]) -> None:
    directory = build(tmp_path / "m", inputs=inputs)
    adopt(directory, NOTHING)
    np.testing.assert_allclose(embedded(directory), unit(rows(*FRAMED).mean(axis=0)), atol=1e-6)


def test_what_a_model_takes_that_nobody_knows_is_named(tmp_path: Path) -> None:
    directory = build(tmp_path / "m", inputs=("input_ids", "pixels"))
    with pytest.raises(ConfigurationError, match="it takes pixels"):
        adopt(directory, NOTHING)


def test_the_tokenizers_own_cutting_and_padding_is_off(tmp_path: Path) -> None:
    directory = build(tmp_path / "m")
    adopt(directory, NOTHING)
    tokens = Tokens(directory)
    assert tokens.count("red " * 30) == len(tokens.spans("red " * 30)) == 30
    assert tokens.count("red") == 1
    assert len(tokens.ids("red")) == 3
    assert len(tokens.ids("red " * 100)) == 64
    assert tokens.max_tokens == 62


def test_the_manifest_says_what_the_directory_tells(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    directory = build(
        tmp_path / "some-model",
        place="onnx/model.onnx",
        config_sentence_transformers={"prompts": prompts},
        modules=[{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")],
    )
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Some model\n")
    made = adopt(directory, NOTHING)
    assert made == Manifest.read(directory)
    assert (made.name, made.dimension, made.max_tokens, made.pooling) == ("some-model", 4, 64, "mean")
    assert (made.query_prefix, made.passage_prefix, made.licence) == ("query: ", "passage: ", "apache-2.0")
    assert made.sha256.keys() == {"onnx/model.onnx", "tokenizer.json"}
    given = adopt(directory, Given(name="mine", query_prefix="", passage_prefix="red ", max_tokens=32))
    assert (given.name, given.query_prefix, given.passage_prefix, given.max_tokens) == ("mine", "", "red ", 32)
    assert given.fingerprint(2) != made.fingerprint(2)


def test_weights_beside_the_model_are_checked_as_well(tmp_path: Path) -> None:
    directory = build(tmp_path / "m")
    (directory / "model.onnx_data").write_bytes(b"weights")
    adopt(directory, NOTHING)
    (directory / "model.onnx_data").write_bytes(b"others")
    with pytest.raises(ConfigurationError, match=r"model\.onnx_data .* checksum differs"):
        embedded(directory)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"pooling": None}, r"1_Pooling/config\.json .* --pooling"),
        ({"pooling": "weightedmean_tokens"}, "pooling_mode_weightedmean_tokens"),
        ({"max_tokens": None}, "--max-tokens"),
        (
            {"max_tokens": 17, "config_sentence_transformers": {"prompts": {"passage": "red red red "}}},
            "only 12 tokens",
        ),
        ({"modules": [{"type": "sentence_transformers.models.Dense"}]}, "wants Dense"),
        ({"place": "other.onnx"}, r"must hold model\.onnx or onnx/model\.onnx"),
        ({"modules": {}}, r"modules\.json is not what"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    directory = build(tmp_path / "m", **how)
    with pytest.raises(ConfigurationError, match=said):
        adopt(directory, NOTHING)
    assert not (directory / MANIFEST).exists()


def test_a_model_that_fails_keeps_the_manifest_of_before(tmp_path: Path) -> None:
    directory = build(tmp_path / "m")
    before = adopt(directory, NOTHING)
    (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="fails"):
        adopt(directory, NOTHING)
    assert Manifest.read(directory) == before


def test_what_tells_models_apart_is_what_makes_their_vectors(tmp_path: Path) -> None:
    one, same, other = (
        adopt(build(tmp_path / name, seed=seed), NOTHING) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.fingerprint(2) == same.fingerprint(2), "whatever it is called"
    assert len({one.fingerprint(2), other.fingerprint(2), one.fingerprint(3)}) == 3


def test_the_command_says_what_it_found_and_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = build(tmp_path / "m")
    told = CliRunner().invoke(app, ["model", "adopt", str(directory), "--query-prefix", "query: "])
    assert told.exit_code == 0, told.output
    assert "brigade migrate --new-model" in told.stdout
    monkeypatch.setenv("BRIGADE_MODEL_DIR", str(directory))
    monkeypatch.chdir(tmp_path)
    shown = json.loads(CliRunner().invoke(app, ["model", "show", "--json"]).stdout)
    assert (shown["query_prefix"], shown["collection"][:7]) == ("query: ", "chunks_")
    refused = CliRunner().invoke(app, ["model", "adopt", str(tmp_path)])
    assert refused.exit_code == 1
    assert "must hold" in refused.stderr
