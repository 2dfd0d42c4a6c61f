"""Checks of what makes a task's bytes immutable: a version id, else a copy that demands the ETag."""

from __future__ import annotations

from common.errors import Rejected, Superseded
from common.records import Pin
from deploy.store_checks.check import Lacks, Wrong, demand
from deploy.store_checks.ground import Ground

_OLD, _NEW = b"as it was", b"what came later"
_MAX_BYTES = 1 << 20


def by_copy(ground: Ground) -> None:
    key = ground.key("a")
    target = ground.target(key, ground.put(key, _OLD))
    pin = ground.objects.pin(target, _MAX_BYTES)
    demand(pin.key != key, "the pin is the object itself", "a copy")
    demand(ground.objects.pin(target, _MAX_BYTES) == pin, "pinning again gave another pin", "the same")
    ground.put(key, _NEW)
    demand(ground.read(pin) == _OLD, "the copy changed with the object", "the bytes as they were")
    demand(
        ground.objects.pin(target, _MAX_BYTES).key == pin.key,
        "pinning once more gave another",
        "the copy that is there",
    )
    ground.objects.delete_prefix(key)
    demand(ground.read(pin) == _OLD, "the copy went with the object", "the bytes as they were")


def of_other_bytes(ground: Ground) -> None:
    """The demand itself, which only counts when somebody overwrites between the look and the copy."""
    key = ground.key("a")
    then = Pin(ground.bucket, key, etag=ground.put(key, _OLD), size=len(_OLD))
    ground.put(key, _NEW)
    try:
        ground.objects.copy(then, ground.key("copy"))
    except Superseded:
        return
    raise Lacks("a copy that demands an older ETag was made")


def of_a_multipart_upload(ground: Ground) -> None:
    """Whose ETag is no checksum of its bytes, and whose copy may have another."""
    key = ground.key("a")
    upload_id = ground.begin(key)
    ground.objects.admin.upload_part(Bucket=ground.bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=_OLD)
    ground.multipart.complete(key, upload_id, ground.multipart.parts(key, upload_id))
    found = ground.objects.look(ground.bucket, key)
    assert found is not None
    target = ground.target(key, found.etag)
    pin = ground.objects.pin(target, _MAX_BYTES)
    demand(ground.read(pin) == _OLD, "the copy has other bytes", "the same")


def by_version(ground: Ground) -> None:
    key = ground.key("a")
    version_id, etag = ground.put_version(key, _OLD)
    ground.put_version(key, _NEW)
    pin = ground.objects.pin(ground.target(key, etag, version_id), _MAX_BYTES)
    demand(pin.key == key, "the pin is a copy", "the version itself")
    demand(pin.etag == etag, f"the version's ETag is {pin.etag}", etag)
    ground.objects.admin.delete_object(Bucket=ground.bucket, Key=key)
    demand(ground.read(pin) == _OLD, "an older version had other bytes", "as they were")
    demand(
        ground.objects.read_range(pin, 3, 2) == _OLD[3:5], "a range of an older version was another", "2 bytes of it"
    )


def of_a_version_that_is_gone(ground: Ground) -> None:
    key = ground.key("a")
    version_id, etag = ground.put_version(key, _OLD)
    ground.put_version(key, _NEW)
    ground.objects.admin.delete_object(Bucket=ground.bucket, Key=key, VersionId=version_id)
    try:
        ground.objects.pin(ground.target(key, etag, version_id), _MAX_BYTES)
    except Rejected as gone:
        demand(gone.code == "OBJECT_GONE", gone.message, "that it is gone")
    else:
        raise Wrong("a version that was deleted was pinned; expected: that it is gone")
