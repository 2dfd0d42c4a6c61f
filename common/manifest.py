"""What an embedding model is, as the manifest.json in its directory says: the one source of truth at run time.

It is written by what built the model (deploy/models.py) or took it over (deploy/adopting.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from common.errors import ConfigurationError

MODEL, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"

Pooling = Literal["mean", "cls", "last", "none"]
"""How a text's vector comes of its tokens': their mean, the first's, the last's; none: the model does it itself."""

# Of a fingerprint in hex: 32 bits, since a deployment has a handful of models in its life.
_FINGERPRINT_CHARACTERS = 8


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`model`: the ONNX file, from the directory. `output`: the name of what it makes. `sha256` maps each of its files
    to its checksum."""

    format: int
    name: str
    dimension: int
    max_tokens: int
    query_prefix: str
    passage_prefix: str
    pooling: Pooling
    licence: str
    source: str
    sha256: dict[str, str]
    model: str = MODEL
    output: str = "last_hidden_state"

    @classmethod
    def read(cls, model_dir: Path) -> Manifest:
        try:
            return msgspec.json.decode((model_dir / MANIFEST).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise unusable(model_dir, f"{MANIFEST}: {error}") from error

    def write(self, model_dir: Path) -> None:
        (model_dir / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")

    def fingerprint(self, schema: int) -> str:
        """Eight hex digits that differ where vectors, or rows by the index's schema of this number, do not go
        together. The name is none of it, nor what only says where the model is from."""
        told = [schema, self.dimension, self.query_prefix, self.passage_prefix, self.pooling, self.output]
        digest = hashlib.sha256(msgspec.json.encode([*told, sorted(self.sha256.items())]))
        return digest.hexdigest()[:_FINGERPRINT_CHARACTERS]

    def verified(self, model_dir: Path, name: str) -> Path:
        """The path of one of the model's files, which is exactly the one that was built."""
        path = model_dir / name
        try:
            digest = checksum(path)
        except OSError as error:
            raise unusable(model_dir, f"{name}: {error}") from error
        if digest != self.sha256.get(name):
            raise unusable(model_dir, f"{name} is not the file that {MANIFEST} names: its checksum differs")
        return path

    def verified_model(self, model_dir: Path) -> Path:
        """The ONNX file's path; what lies beside it, as weights too large for it, is as it was as well."""
        for name in self.sha256.keys() - {TOKENIZER, self.model}:
            self.verified(model_dir, name)
        return self.verified(model_dir, self.model)


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unusable(model_dir: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no usable embedding model in {model_dir} ({reason}). Build it with `make model` "
        "or `python -m deploy.models`, or point BRIGADE_MODEL_DIR at one; `brigade model adopt` makes the manifest of "
        "a model that has none."
    )
