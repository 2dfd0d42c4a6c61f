"""The embedding model: what it makes of a text (`Embedder`) and how it counts one (`Tokens`).

A model is a directory: model.onnx (token ids -> a vector for each token), tokenizer.json and manifest.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from common.errors import ConfigurationError

MODEL, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"

# One call of the tokenizer for a million characters takes twice the time of calls for windows, holds 200 bytes for
# each character, and lets no other thread run meanwhile. A window takes 10 ms.
WINDOW_CHARACTERS = 16_384
# Embeddings of the latest questions: people turn pages, and ask the same. 2 kB each.
_QUERIES_KEPT = 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What manifest.json says. `sha256` maps the model's files to their checksums."""

    format: int
    name: str
    dimension: int
    max_tokens: int
    query_prefix: str
    passage_prefix: str
    pooling: Literal["mean"]
    licence: str
    source: str
    sha256: dict[str, str]

    @classmethod
    def read(cls, model_dir: Path) -> Manifest:
        try:
            return msgspec.json.decode((model_dir / MANIFEST).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise _unusable(model_dir, f"{MANIFEST}: {error}") from error

    def verified(self, model_dir: Path, name: str) -> Path:
        """The path of one of the model's files, which is exactly the one that was built."""
        path = model_dir / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unusable(model_dir, f"{name}: {error}") from error
        if digest != self.sha256.get(name):
            raise _unusable(model_dir, f"{name} is not the file that {MANIFEST} names: its checksum differs")
        return path


def _unusable(model_dir: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no usable embedding model in {model_dir} ({reason}). Build it with `make model` "
        "or `python -m deploy.models`, or point BRIGADE_MODEL_DIR at one."
    )


class Tokens:
    """The model's tokenizer.

    `max_tokens` is what a passage may have; what is beyond, after the model's own prefix and special tokens, is not
    embedded.
    """

    def __init__(self, model_dir: Path) -> None:
        self._manifest = Manifest.read(model_dir)
        self._tokenizer = Tokenizer.from_file(str(self._manifest.verified(model_dir, TOKENIZER)))
        self._limit = self._manifest.max_tokens
        self._first, self._last = self._tokenizer.encode("").ids
        self.max_tokens = self._limit - len(self._tokenizer.encode(self._manifest.passage_prefix).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token lies in the text, as [start, end) in characters.

        Starts and ends never go back. Characters that the model does not see (control characters, runs of spaces) or
        that it joins to the one before (accents) are in no span, so cut a text where a token starts, not where one
        ends. A character that it reads as several tokens (㈱ is read as "(株)") gives its span to each of them.
        """
        return [
            (offset + start, offset + end)
            for offset, encoding in self._windows(text)
            for start, end in encoding.offsets
        ]

    def count(self, text: str) -> int:
        return sum(len(encoding) for _, encoding in self._windows(text))

    def ids(self, text: str) -> NDArray[np.int64]:
        """What the model reads, special tokens included; a text that is too long loses its end. Shape (tokens,)."""
        ids = chain.from_iterable(encoding.ids for _, encoding in self._windows(text))
        return np.array([self._first, *islice(ids, self._limit - 2), self._last], dtype=np.int64)

    def _windows(self, text: str) -> Iterator[tuple[int, Encoding]]:
        start = 0
        while start < len(text):
            end = start + WINDOW_CHARACTERS
            if end < len(text):
                # Before a space, where the model's words end anyway; Chinese has none and can be cut anywhere.
                cut = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
                end = cut if cut > start else end
            yield start, self._tokenizer.encode(text[start:end], add_special_tokens=False)
            start = end


class Embedder:
    """Texts to unit vectors, so that a dot product is a cosine.

    A text is one run on one thread: on a CPU that is faster than batches, which wait for their longest text, and
    several callers share `threads` cores instead of each taking all.
    """

    def __init__(self, model_dir: Path, *, threads: int, tokens: Tokens) -> None:
        self._manifest = Manifest.read(model_dir)
        self._tokens = tokens
        self.dimension = self._manifest.dimension
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self._manifest.verified(model_dir, MODEL), options, providers=["CPUExecutionProvider"]
        )
        made = self._session.get_outputs()[0].shape[-1]
        if made != self.dimension:
            raise _unusable(model_dir, f"it makes {made} dimensions, {MANIFEST} says {self.dimension}")
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embedding")
        self._known_query = lru_cache(_QUERIES_KEPT)(self._embed_query)

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, dimension), in the order of the texts."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        prefixed = (self._manifest.passage_prefix + text for text in texts)
        for row, vector in zip(vectors, self._pool.map(self._embed, prefixed), strict=True):
            row[:] = vector
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Shape (dimension,), not to be written to: the latest thousand are kept."""
        return self._known_query(text)

    def _embed_query(self, text: str) -> NDArray[np.float32]:
        vector = self._pool.submit(self._embed, self._manifest.query_prefix + text).result()
        vector.flags.writeable = False
        return vector

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _embed(self, text: str) -> NDArray[np.float32]:
        ids = self._tokens.ids(text)[np.newaxis]
        (hidden,) = self._session.run(None, {"input_ids": ids})
        mean: NDArray[np.float32] = hidden[0].mean(axis=0)
        return mean / np.linalg.norm(mean)
