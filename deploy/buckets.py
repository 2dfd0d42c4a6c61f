"""Making a bucket, wherever the store is."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from common.objects import ObjectStore, translated_boto

_THERE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
# AWS's first region, and what stores call theirs that have none: it is the one that may not be named.
_UNNAMED = "us-east-1"


def make_bucket(objects: ObjectStore, region: str) -> None:
    """Make our bucket, unless it is there. Raises `Unavailable`."""
    options: dict[str, Any] = {"Bucket": objects.bucket}
    if region != _UNNAMED:
        options["CreateBucketConfiguration"] = {"LocationConstraint": region}
    with translated_boto(f"making the bucket {objects.bucket}"):
        try:
            objects.admin.create_bucket(**options)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                raise
