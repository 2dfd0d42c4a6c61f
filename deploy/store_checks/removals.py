"""Checks of deletions: ours go, with all their versions; others' stay; what comes back is seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from common.erasing import KnownBytes, erase
from common.events import ObjectCreated, ObjectRemoved, sequencer_at
from deploy.store_checks.check import Lacks, demand
from deploy.store_checks.ground import Ground


def of_a_prefix(ground: Ground) -> None:
    for name in ("p/a", "p/b/c", "p/b/c", "p/d e", "q"):
        ground.put(ground.key(name), b"1")
    ground.objects.delete_prefix(ground.key("p/"))
    left = [one["Key"] for one in _everything(ground)]
    demand(set(left) == {ground.key("q")}, f"what is left is {left}", "only what has another prefix")


def of_a_document(ground: Ground) -> None:
    key = ground.key("a")
    ours = ground.put(key, b"ours")
    erase(ground.objects, _known(ground, key, etags={ours}), check=_nothing)
    demand(ground.objects.look(ground.bucket, key) is None, "the document's object is still there", "nothing")
    ground.put(key, b"another's")
    told = erase(ground.objects, _known(ground, key, etags={ours}), check=_nothing)
    demand("left" in told and ground.objects.exists(key), "what another put there was deleted", "that it stays")


def of_a_documents_versions(ground: Ground) -> None:
    key, longer = ground.key("a"), ground.key("ab")
    ours = {ground.put_version(key, b"1")[0], ground.put_version(key, b"2")[0]}
    ground.put_version(longer, b"another's")
    erase(ground.objects, _known(ground, key, version_ids=ours), check=_nothing)
    left = [(one["Key"], one["VersionId"]) for one in ground.versions()]
    demand([one for one, _ in left] == [longer], f"what is left is {left}", "only the other document's version")
    kept, _ = ground.put_version(key, b"another's")
    mine, _ = ground.put_version(key, b"3")
    erase(ground.objects, _known(ground, key, version_ids={mine}), check=_nothing)
    ids = [one["VersionId"] for one in ground.versions() if one["Key"] == key]
    demand(kept in ids and mine not in ids, f"of another's version and ours, {ids} are left", "only another's")


def only_if_unchanged(ground: Ground) -> None:
    key = ground.key("a")
    old = ground.put(key, b"old")
    ground.put(key, b"new")
    try:
        ground.objects.admin.delete_object(Bucket=ground.bucket, Key=key, IfMatch=f'"{old}"')
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        demand(ground.objects.exists(key), f"it was refused ({status}) and yet deleted", "that it stays")
        if status == 412:
            return
        raise Lacks(f"a deletion that demands an ETag is refused ({status})") from error
    raise Lacks("a deletion that demands an older ETag was done")


def what_comes_back(ground: Ground) -> None:
    """Told in the same words as any removal, so the product looks what is there."""
    key = ground.key("a")
    first, _ = ground.put_version(key, b"first")
    second, etag = ground.put_version(key, b"second")
    removal = ObjectRemoved(ground.bucket, key, sequencer_at(datetime.fromtimestamp(0, UTC)))
    client, where = ground.objects.admin, {"Bucket": ground.bucket, "Key": key}
    client.delete_object(**where)
    demand(ground.objects.left_by(removal) is None, "below a delete marker something is seen", "nothing")
    marker = next(one["VersionId"] for one in ground.versions() if "ETag" not in one)
    client.delete_object(**where, VersionId=marker)
    back = _seen(ground, removal)
    demand(
        (back.version_id, back.etag) == (second, etag), f"with its marker gone, {back} is seen", "the newest version"
    )
    client.delete_object(**where, VersionId=second)
    demand(_seen(ground, removal).version_id == first, "with the newest gone, another is seen", "the one before it")


def _seen(ground: Ground, removal: ObjectRemoved) -> ObjectCreated:
    seen = ground.objects.left_by(removal)
    demand(seen is not None, "nothing is seen under the key", "the version that came back")
    assert seen is not None
    return seen


def _known(ground: Ground, key: str, *, etags: Iterable[str] = (), version_ids: Iterable[str] = ()) -> KnownBytes:
    return KnownBytes(
        ground.bucket, key, frozenset(etags), frozenset(version_ids), frozenset(), live=False, announced=False
    )


def _everything(ground: Ground) -> list[dict[str, Any]]:
    try:
        return ground.versions()
    except ClientError:  # a store without versions
        return ground.listed()


def _nothing() -> None:
    pass
