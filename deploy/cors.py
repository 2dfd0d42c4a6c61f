"""Which sites' pages may put their visitors' files into the bucket."""

from __future__ import annotations

from typing import Any

import structlog
from botocore.exceptions import ClientError

from common.objects import ObjectStore, translated_boto

log = structlog.get_logger()

_ID = "brigade"
_MAX_AGE_SECONDS = 3600
# Said by stores that answer every site (MinIO by default), and where our key may not change this.
_REFUSALS = frozenset({"NotImplemented", "MethodNotAllowed", "AccessDenied"})


def allow_origins(objects: ObjectStore, origins: list[str]) -> None:
    """Replace our rule on the bucket; others' rules stay. A store that takes no such rules is no failure."""
    with translated_boto(f"setting CORS on the bucket {objects.bucket}"):
        try:
            there = _rules(objects)
            others = [rule for rule in there if rule.get("ID") != _ID]
            wanted = [*others, _rule(origins)] if origins else others
            if wanted == there:
                return
            if wanted:
                objects.admin.put_bucket_cors(Bucket=objects.bucket, CORSConfiguration={"CORSRules": wanted})
            else:
                objects.admin.delete_bucket_cors(Bucket=objects.bucket)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _REFUSALS:
                raise
            if origins:
                log.info(
                    "bucket.cors_not_set",
                    reason=code,
                    hint="A MinIO takes no such rules: it answers every site, or those that its own setting "
                    "MINIO_API_CORS_ALLOW_ORIGIN names. At other stores, set them by hand.",
                )


def _rules(objects: ObjectStore) -> list[dict[str, Any]]:
    try:
        rules: list[dict[str, Any]] = objects.admin.get_bucket_cors(Bucket=objects.bucket)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        return []
    return rules


def _rule(origins: list[str]) -> dict[str, Any]:
    return {
        "ID": _ID,
        "AllowedOrigins": origins,
        "AllowedMethods": ["GET", "PUT", "POST"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],  # a multipart upload is finished by naming its parts' ETags
        "MaxAgeSeconds": _MAX_AGE_SECONDS,
    }
