"""The embedding model and its tokens, on the model that is really used; it is built first where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.embedding import WINDOW_CHARACTERS, Embedder, Tokens
from common.errors import ConfigurationError
from common.manifest import MANIFEST, MODEL, TOKENIZER, Manifest
from common.settings import Settings
from deploy.models import build

ROOT = Path(__file__).parents[2]
TEXTS = [
    "The cat sleeps on the sofa.",
    "猫在沙发上睡觉。",
    "Quarterly revenue fell by ten percent.",
    "公司第三季度收入下降了百分之十。",
    "x",
    "",
]
ODD = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \n\t㈱ﷺ\u0301\u200d👩Ａ。的a")))


@pytest.fixture(scope="session")
def model_dir() -> Path:
    return build(ROOT / Settings.model_fields["model_dir"].default)


@pytest.fixture(scope="session")
def tokens(model_dir: Path) -> Tokens:
    return Tokens(model_dir)


@pytest.fixture(scope="session")
def embedder(model_dir: Path, tokens: Tokens) -> Iterator[Embedder]:
    made = Embedder(model_dir, threads=2, tokens=tokens)
    yield made
    made.close()


@pytest.fixture
def broken(model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the model for a test to damage."""
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


def test_passages_become_unit_vectors_in_their_order(embedder: Embedder) -> None:
    vectors = embedder.embed_passages(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_array_equal(embedder.embed_passages([text])[0], vector)


def test_a_query_is_one_unit_vector(embedder: Embedder) -> None:
    vector = embedder.embed_query("猫在哪里？")
    assert vector.shape == (384,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_no_passages_make_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed_passages([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("text", "alike", "unlike"),
    [
        ("How do I reset the root password?", "Recovering a lost administrator login", "A recipe for apple pie"),
        ("忘记超级用户密码怎么办？", "如何恢复管理员登录", "苹果派的做法"),
        ("How do I reset the root password?", "忘记超级用户密码怎么办？", "苹果派的做法"),
    ],
)
def test_a_paraphrase_is_nearer_than_something_else(embedder: Embedder, text: str, alike: str, unlike: str) -> None:
    first, near, far = embedder.embed_passages([text, alike, unlike])
    assert first @ near > first @ far + 0.05


def test_queries_and_passages_get_the_prefixes_of_the_manifest(
    embedder: Embedder, broken: Path, tokens: Tokens
) -> None:
    """A model whose passage prefix is the query's makes a passage what a query is, and not otherwise."""
    manifest = msgspec.structs.replace(Manifest.read(broken), passage_prefix="query: ")
    (broken / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    changed = Embedder(broken, threads=1, tokens=tokens)
    text = "Where is the printer?"
    for each, same in ((embedder, False), (changed, True)):
        assert np.allclose(each.embed_passages([text])[0], each.embed_query(text)) is same
    np.testing.assert_array_equal(changed.embed_query(text), embedder.embed_query(text))
    changed.close()


def test_more_threads_make_the_same_vectors(model_dir: Path, tokens: Tokens, embedder: Embedder) -> None:
    texts = TEXTS * 4
    single = Embedder(model_dir, threads=1, tokens=tokens)
    np.testing.assert_array_equal(single.embed_passages(texts), embedder.embed_passages(texts))
    single.close()


@pytest.mark.parametrize("unit", ["word ", "我们在一起工作，", "👩", "\n"])
def test_a_text_that_is_too_long_loses_its_end(embedder: Embedder, tokens: Tokens, unit: str) -> None:
    long = unit * 20_000
    assert len(tokens.ids(long)) <= 512
    vectors = embedder.embed_passages([long, long + "an end that nobody reads"])
    if unit.strip():
        np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize("word", ["word ", "我们在一起工作，", "e. "])
def test_a_passage_of_max_tokens_is_embedded_to_its_end(tokens: Tokens, word: str) -> None:
    spans = tokens.spans(word * 600)
    passage = (word * 600)[: spans[tokens.max_tokens - 1][1]].rstrip()
    assert tokens.count(passage) <= tokens.max_tokens
    whole = tokens.ids("passage: " + passage)
    assert len(whole) <= 512
    assert list(whole[-2:-1]) == list(tokens.ids(passage[-8:])[-2:-1])


def test_spans_are_where_the_tokens_are(tokens: Tokens) -> None:
    text = "Hello  worlds\n我们在一起。ＡＢＣ e\u0301 x"
    covered = [text[start:end].strip() for start, end in tokens.spans(text)]
    assert covered == ["Hello", "world", "s", "我们", "在一起", "。", "ＡＢＣ", "e", "x"]


def test_a_character_that_is_read_as_several_tokens_gives_its_span_to_each(tokens: Tokens) -> None:
    assert tokens.spans("㈱") == [(0, 1)] * 3


@given(text=ODD)
def test_spans_go_forward_within_any_text_and_there_is_one_for_each_token(tokens: Tokens, text: str) -> None:
    spans = tokens.spans(text)
    assert len(spans) == tokens.count(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    assert [end for _, end in spans] == sorted(end for _, end in spans)


@given(text=st.text(alphabet="ab 我们。\n", min_size=1))
def test_spans_of_plain_text_leave_out_nothing_but_spaces(tokens: Tokens, text: str) -> None:
    covered = {at for start, end in tokens.spans(text) for at in range(start, end)}
    assert all(text[at].isspace() for at in range(len(text)) if at not in covered)


@pytest.mark.parametrize("line", ["The quick brown fox jumps.\n", "一行没有空格的中文文字。\n"])
def test_a_text_longer_than_a_window_has_the_tokens_of_its_lines(tokens: Tokens, line: str) -> None:
    lines = WINDOW_CHARACTERS // len(line) * 3
    text = line * lines
    assert tokens.count(text) == pytest.approx(tokens.count(line + "a") * lines - lines, rel=0.01)
    assert tokens.spans(text)[-1][1] == len(text)


def test_a_long_text_without_spaces_ends(tokens: Tokens) -> None:
    text = "a " + "我" * (3 * WINDOW_CHARACTERS)
    spans = tokens.spans(text)
    assert spans[-1][1] == len(text)
    assert sum(end - start for start, end in spans) == pytest.approx(len(text), abs=8)


def test_an_empty_text_has_no_tokens(tokens: Tokens) -> None:
    assert (tokens.spans(""), tokens.count("")) == ([], 0)


def test_a_missing_model_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"python -m deploy\.models"):
        Tokens(tmp_path / "nowhere")


def _refused(directory: Path, tokens: Tokens, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Embedder(directory, threads=1, tokens=tokens)


def test_a_damaged_model_file_is_refused(broken: Path, tokens: Tokens) -> None:
    data = bytearray((broken / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / MODEL).write_bytes(data)
    _refused(broken, tokens, r"model\.onnx .* checksum differs")


def test_a_damaged_tokenizer_is_refused(broken: Path) -> None:
    with (broken / TOKENIZER).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json .* checksum differs"):
        Tokens(broken)


def test_a_missing_model_file_is_named(broken: Path, tokens: Tokens) -> None:
    (broken / MODEL).unlink()
    _refused(broken, tokens, r"model\.onnx")


@pytest.mark.parametrize("content", ["", "[]", '{"name": "mine"}', '{"pooling": 1}'])
def test_a_manifest_that_says_too_little_is_refused(broken: Path, tokens: Tokens, content: str) -> None:
    (broken / MANIFEST).write_text(content)
    _refused(broken, tokens, r"manifest\.json")


def test_a_manifest_with_another_dimension_is_refused(broken: Path, tokens: Tokens) -> None:
    manifest = msgspec.structs.replace(Manifest.read(broken), dimension=768)
    (broken / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    _refused(broken, tokens, r"makes 384 dimensions, manifest\.json says 768")


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_onnx_runtime_starts_no_thread_of_its_own_to_report_what_is_run() -> None:
    script = (
        "import os, common, numpy; threads = lambda: len(os.listdir('/proc/self/task')); before = threads(); "
        "import onnxruntime; print(threads() - before)"
    )
    told = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    assert subprocess.check_output([sys.executable, "-c", script], env=told, text=True).strip() == "0"
