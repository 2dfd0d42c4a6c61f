"""The rules by which a store tells of events, as S3 writes them."""

from __future__ import annotations

from typing import Any

OURS = "brigade-"  # how the Ids of our notification rules begin
_EVENTS = (
    # Named one by one: ObjectCreated:* would include changes of tags.
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
)


def says(rule: dict[str, Any]) -> tuple[str, frozenset[str], frozenset[tuple[str, str]]]:
    """What a rule asks for, however a store writes it down: it may drop its Id, or add its region to the ARN."""
    arn = rule["QueueArn"].split(":")
    arn[3:4] = [] if arn[1:2] == ["minio"] else arn[3:4]
    filters = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return (
        ":".join(arn),
        frozenset(rule["Events"]),
        frozenset((one["Name"].lower(), one["Value"]) for one in filters),
    )


def notification_rules(arns: list[str], prefixes: list[str]) -> list[dict[str, Any]]:
    """A rule for each target and each prefix, as S3 writes them."""
    return [
        {
            "Id": f"{OURS}{number}-{prefix.strip('/')}",
            "QueueArn": arn,
            "Events": list(_EVENTS),
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
        }
        for number, arn in enumerate(arns)
        for prefix in prefixes
    ]
