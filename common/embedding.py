"""The embedding model: what it makes of a text (`Embedder`) and how it counts one (`Tokens`).

A model is a directory: an ONNX file (token ids -> a vector for each token, or for the text), tokenizer.json and
manifest.json (common/manifest.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from common.manifest import MANIFEST, TOKENIZER, Manifest, unusable

# One call of the tokenizer for a million characters takes twice the time of calls for windows, holds 200 bytes for
# each character, and lets no other thread run meanwhile. A window takes 10 ms.
WINDOW_CHARACTERS = 16_384
# Embeddings of the latest questions: people turn pages, and ask the same. 2 kB each.
_QUERIES_KEPT = 1024


class Tokens:
    """The model's tokenizer.

    `max_tokens` is what a passage may have; what is beyond, after the model's own prefix and special tokens, is not
    embedded.
    """

    def __init__(self, model_dir: Path) -> None:
        self._manifest = Manifest.read(model_dir)
        self._tokenizer = Tokenizer.from_file(str(self._manifest.verified(model_dir, TOKENIZER)))
        # Many a tokenizer.json cuts and pads by itself, as its model was trained: offsets and counts must be whole.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = self._manifest.max_tokens
        self._before, self._after = self._frame()
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
        room = self._limit - len(self._before) - len(self._after)
        framed = [*self._before, *islice(ids, room), *self._after]
        # A model without special tokens still needs something to read.
        return np.array(framed or self._tokenizer.encode(".").ids, dtype=np.int64)

    def _frame(self) -> tuple[list[int], list[int]]:
        """The special tokens that the model wants before a text, and after it."""
        probe = self._tokenizer.encode("a")
        special = probe.special_tokens_mask
        first = special.index(0) if 0 in special else len(special)
        last = len(special) - (special[::-1].index(0) if 0 in special else 0)
        return probe.ids[:first], probe.ids[last:]

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
        # What tells its vectors from those of another model.
        self.model = self._manifest.fingerprint(0)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self._manifest.verified_model(model_dir), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = inputs_of(self._session, model_dir)
        made = {one.name: one.shape[-1] for one in self._session.get_outputs()}
        output = self._manifest.output
        if output not in made:
            raise unusable(model_dir, f"it makes {', '.join(made)}, {MANIFEST} says {output}")
        if isinstance(made[output], int) and made[output] != self.dimension:
            raise unusable(model_dir, f"it makes {made[output]} dimensions, {MANIFEST} says {self.dimension}")
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
        given = {name: _INPUTS[name](ids).astype(kind) for name, kind in self._inputs.items()}
        (made,) = self._session.run([self._manifest.output], given)
        vector: NDArray[np.float32] = _POOLED[self._manifest.pooling](made[0]).astype(np.float32)
        return vector / np.linalg.norm(vector)


# What a model may want of one text: there is no padding, so every token counts, and all are of one sentence.
_INPUTS: dict[str, Any] = {
    "input_ids": lambda ids: ids,
    "attention_mask": np.ones_like,
    "token_type_ids": np.zeros_like,
    "position_ids": lambda ids: np.arange(ids.shape[1])[np.newaxis],
}
# From the vectors of the tokens, shape (tokens, dimension), but "none": shape (dimension,) already.
_POOLED: dict[str, Any] = {
    "mean": lambda hidden: hidden.mean(axis=0),
    "cls": lambda hidden: hidden[0],
    "last": lambda hidden: hidden[-1],
    "none": lambda pooled: pooled,
}


def inputs_of(session: onnxruntime.InferenceSession, model_dir: Path) -> dict[str, str]:
    """What the model takes, each with its type. Raises `ConfigurationError` for what nobody knows how to give."""
    found = {one.name: _INTEGERS.get(one.type, "") for one in session.get_inputs()}
    if unknown := [name for name, kind in found.items() if name not in _INPUTS or not kind]:
        raise unusable(model_dir, f"it takes {', '.join(unknown)}, and only {', '.join(_INPUTS)} can be given")
    return found


_INTEGERS = {"tensor(int64)": "int64", "tensor(int32)": "int32"}
