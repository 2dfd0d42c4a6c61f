"""Taking a document's bytes out of the store, and never anybody else's.

A key may have been used again since: by a document that lives there now, or by one whose notification is still on its
way. So an object is deleted only if it is one that the document's versions know, and nothing newer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from common.errors import Rejected
from common.objects import ObjectStore, translated_boto

_GONE = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_DENIED = frozenset({"403", "AccessDenied"})
# Of versions that were written while versioning was off or suspended.
_NULL = "null"
_UNTOLD = "UNTOLD"


@dataclass(frozen=True, slots=True)
class KnownBytes:
    """What a document's versions know of the store.

    `live`: another document lives under the key now; its versions are not among `version_ids`. `announced`: the key
    was made for this document, so that all that was ever put there is its own.
    """

    bucket: str
    key: str
    etags: frozenset[str]
    version_ids: frozenset[str]
    upload_ids: frozenset[str]
    live: bool
    announced: bool


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    etag: str
    is_marker: bool


def erase(store: ObjectStore, known: KnownBytes, *, check: Callable[[], None]) -> dict[str, Any]:
    """Delete these bytes; returns what to note. Harmless when they are gone. `check` is called between deletions.

    Raises `Rejected` (ERASE_REFUSED) where the store does not let us.
    """
    client, where = store.admin, {"Bucket": known.bucket, "Key": known.key}
    for upload_id in known.upload_ids:
        _ask(client.abort_multipart_upload, **where, UploadId=upload_id)
    erased, left = 0, {}
    if (current := _current(client, where)) is not None:
        if _is_ours(known, current):
            # Where versions are kept this puts a marker on top first, so that no older one comes to light meanwhile.
            erased += _ask(client.delete_object, **where, **_unless_changed(current)) is not None
        else:
            left = {"left": "The object under the key is not known to be this document's."}
    if _keeps_versions(client, known.bucket):
        erased += _erase_versions(client, known, check)
    return {"objects": erased, **left}


def _current(client: Any, where: dict[str, str]) -> dict[str, Any] | None:
    """What the store tells of the object under the key: nothing, if it is encrypted with its sender's key (SSE-C)."""
    try:
        found: dict[str, Any] | None = _ask(client.head_object, **where)
    except Rejected as refusal:
        if refusal.code != _UNTOLD:
            raise
        return {}
    return found


def _unless_changed(current: dict[str, Any]) -> dict[str, str]:
    """MinIO passes over this: what is put there between its two calls, within milliseconds, is deleted as well."""
    return {"IfMatch": current["ETag"]} if "ETag" in current else {}


def _is_ours(known: KnownBytes, current: dict[str, Any]) -> bool:
    if known.announced or known.live:
        return not known.live
    version_id = current.get("VersionId", _NULL)
    return current.get("ETag", "").strip('"') in known.etags if version_id == _NULL else version_id in known.version_ids


def _keeps_versions(client: Any, bucket: str) -> bool:
    try:
        found = _ask(client.get_bucket_versioning, Bucket=bucket)
    except Rejected:
        return False
    return bool(found and found.get("Status"))


def _erase_versions(client: Any, known: KnownBytes, check: Callable[[], None]) -> int:
    """The versions that are ours; then the markers, unless they hide what is not. Returns how many versions."""
    kept = list(_versions(client, known))
    ours = [one for one in kept if not one.is_marker and _is_our_version(known, one)]
    others = [one for one in kept if not one.is_marker and one not in ours]
    markers = [] if known.live or others else [one for one in kept if one.is_marker]
    for one in [*ours, *markers]:
        check()
        _ask(client.delete_object, Bucket=known.bucket, Key=known.key, VersionId=one.id)
    return len(ours)


def _is_our_version(known: KnownBytes, version: _Version) -> bool:
    if known.announced and not known.live:
        return True
    if version.id == _NULL:
        return not known.live and version.etag in known.etags
    return version.id in known.version_ids


def _versions(client: Any, known: KnownBytes) -> list[_Version]:
    found: list[_Version] = []
    with translated_boto(f"listing the versions of {known.key}"):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=known.bucket, Prefix=known.key):
            rows = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            found += [
                _Version(row["VersionId"], row.get("ETag", "").strip('"'), "ETag" not in row)
                for row in rows
                if row["Key"] == known.key
            ]
            # Keys come in order, and the key itself before those that it begins.
            if any(row["Key"] != known.key for row in rows):
                break
    return found


def _ask(call: Callable[..., Any], **options: Any) -> Any:
    """The store's answer; None if what is asked for is gone, or is no longer what it was."""
    key = options.get("Key", options["Bucket"])
    with translated_boto(f"erasing {key}"):
        try:
            return call(**options)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _GONE | _CHANGED:
                return None
            if code in _DENIED:
                raise Rejected(f"The store does not let us delete {key}.", code="ERASE_REFUSED") from error
            if code == "400":  # to a HEAD, whose answer has no body to say more
                raise Rejected(f"The store tells nothing of {key}.", code=_UNTOLD) from error
            if code == "NotImplemented":
                raise Rejected(f"The store cannot do this: {key}.", code="NOT_IMPLEMENTED") from error
            raise
