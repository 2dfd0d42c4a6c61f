"""`brigade model`: the embedding model, taken over from where sentence-transformers keep theirs, and looked at."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.configuration import settings
from deploy.cli.output import JsonOption, emit, say, table

model = typer.Typer(
    help="Take over an embedding model, or look at the present one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Pooling(StrEnum):
    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


@model.command()
def adopt(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="model.onnx, tokenizer.json and what describes it.")],
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="The directory's if left out.")] = None,
    query_prefix: Annotated[
        str | None, typer.Option("--query-prefix", metavar="TEXT", help="What questions begin with.")
    ] = None,
    passage_prefix: Annotated[
        str | None, typer.Option("--passage-prefix", metavar="TEXT", help="What passages begin with.")
    ] = None,
    pooling: Annotated[
        Pooling | None, typer.Option("--pooling", help="How a text's vector comes of its tokens'.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=16, help="That it takes at once.")] = None,
    json: JsonOption = False,
) -> None:
    """Try a model as sentence-transformers keep it, and write its manifest. What is left out its directory tells."""
    from deploy.adopting import Given
    from deploy.adopting import adopt as take_over

    given = Given(name, query_prefix, passage_prefix, pooling.value if pooling else None, max_tokens)
    manifest = take_over(directory, given)
    if json:
        emit(manifest)
        return
    _show(manifest)
    say(f"BRIGADE_MODEL_DIR={directory.resolve()} and brigade migrate --new-model change over to it.")


@model.command()
def show(json: JsonOption = False) -> None:
    """Show the model that BRIGADE_MODEL_DIR names, and its collection."""
    from common.index import Index
    from common.manifest import Manifest

    config = settings()
    manifest = Manifest.read(config.model_dir)
    collection = Index(config, manifest).name
    if json:
        emit({**{name: getattr(manifest, name) for name in manifest.__struct_fields__}, "collection": collection})
    else:
        _show(manifest, collection=collection)


def _show(manifest: object, **more: object) -> None:
    names = ("name", "dimension", "max_tokens", "query_prefix", "passage_prefix", "pooling", "licence", "source")
    table(["", ""], [*((name, str(getattr(manifest, name))) for name in names), *more.items()])
