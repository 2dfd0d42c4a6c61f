"""`brigade bind`, `bindings`, `unbind`: where what other systems drop goes, for who has an admin's key."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import NotFound
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, emit, say, table

PrefixArgument = Annotated[str, typer.Argument(metavar="PREFIX", help="Of keys, as in incoming/invoices/.")]
BucketOption = Annotated[
    str | None, typer.Option("--bucket", metavar="B", help="The bucket, if not the one that uploads go to.")
]


def bind(
    prefix: PrefixArgument,
    kb: Annotated[str, typer.Option("--kb", metavar="NAME", help="The knowledge base that drops go into.")],
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="USER", help="Whose they are; the base's owner's if left out.")
    ] = None,
    bucket: BucketOption = None,
    json: JsonOption = False,
) -> None:
    """Say where what is dropped under a prefix goes; of several the longest counts."""
    with connect() as client:
        made = client.knowledge_bases.bind(prefix, kb, owner=owner, bucket=bucket)
    if json:
        emit(made)
    else:
        say(f"Drops under {made.bucket_name}/{made.prefix} go into {made.knowledge_base_name} as {made.username}'s.")


def bindings(json: JsonOption = False) -> None:
    """List where what is dropped goes."""
    with connect() as client:
        found = list(client.knowledge_bases.bindings())
    if json:
        emit(found)
    else:
        rows = [(one.bucket_name, one.prefix, one.knowledge_base_name, one.username, one.id) for one in found]
        table(["bucket", "prefix", "knowledge base", "owner", "id"], rows)


def unbind(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="The prefix, or the binding's id.")],
    bucket: BucketOption = None,
    json: JsonOption = False,
) -> None:
    """Forget where what is dropped under a prefix went. What came stays where it is."""
    with connect() as client:
        found = [
            one
            for one in client.knowledge_bases.bindings()
            if prefix == one.id or (prefix == one.prefix and bucket in (None, one.bucket_name))
        ]
        if len(found) != 1:
            reason = "Several buckets have it: name one with --bucket" if found else "See brigade bindings"
            raise NotFound(f"There is no one binding of {prefix!r}. {reason}.")
        client.knowledge_bases.unbind(found[0].id)
    if json:
        emit(found[0])
    else:
        say(f"{found[0].bucket_name}/{found[0].prefix} is bound no more.")
