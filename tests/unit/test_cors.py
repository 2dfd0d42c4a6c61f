"""Which sites' pages may upload: a rule of ours on the bucket, beside those of others."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from structlog.testing import capture_logs

from common.errors import Unavailable
from common.objects import ObjectStore
from common.settings import Settings
from deploy.cors import allow_origins

THEIRS = {"ID": "theirs", "AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["GET"]}
SITE = "https://app.example"


@pytest.fixture
def objects() -> Iterator[ObjectStore]:
    with mock_aws():
        settings = Settings.model_validate(
            {"s3_endpoint": "https://s3.amazonaws.com", "s3_access_key": "k", "s3_secret_key": "s", "bucket": "ours"}
        )
        objects = ObjectStore(settings)
        objects.admin.create_bucket(Bucket="ours")
        yield objects


def rules(objects: ObjectStore) -> list[dict[str, Any]]:
    return list(objects.admin.get_bucket_cors(Bucket="ours")["CORSRules"])


def test_a_site_may_send_and_fetch_and_see_etags(objects: ObjectStore) -> None:
    allow_origins(objects, [SITE])
    (rule,) = rules(objects)
    assert rule["AllowedOrigins"] == [SITE]
    assert {"GET", "PUT", "POST"} == set(rule["AllowedMethods"])
    assert rule["ExposeHeaders"] == ["ETag"]


def test_rules_of_others_stay_and_ours_follows_the_setting(objects: ObjectStore) -> None:
    objects.admin.put_bucket_cors(Bucket="ours", CORSConfiguration={"CORSRules": [THEIRS]})
    for origins in ([SITE], ["https://new.example"]):
        allow_origins(objects, origins)
        assert [rule["AllowedOrigins"] for rule in rules(objects)] == [["https://theirs.example"], origins]
    allow_origins(objects, [])
    assert rules(objects) == [THEIRS]


def test_the_last_site_taken_away_leaves_no_rule(objects: ObjectStore) -> None:
    allow_origins(objects, [SITE])
    allow_origins(objects, [])
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        rules(objects)


def test_a_rule_that_is_right_is_not_written_again(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_origins(objects, [SITE])
    monkeypatch.setattr(objects.admin, "put_bucket_cors", None)
    allow_origins(objects, [SITE])


def refusing(code: str) -> ObjectStore:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "Cors")

    admin = SimpleNamespace(get_bucket_cors=refuse, put_bucket_cors=refuse)
    return cast(ObjectStore, SimpleNamespace(admin=admin, bucket="ours"))


@pytest.mark.parametrize("code", ["NotImplemented", "AccessDenied"])
def test_a_store_that_takes_no_such_rules_is_said_and_no_failure(code: str) -> None:
    with capture_logs() as said:
        allow_origins(refusing(code), [SITE])
        allow_origins(refusing(code), [])  # nothing was asked for
    assert [(line["event"], line["log_level"], line["reason"]) for line in said] == [
        ("bucket.cors_not_set", "info", code)
    ]


def test_a_store_that_fails_is_a_failure() -> None:
    with pytest.raises(Unavailable, match="setting CORS"):
        allow_origins(refusing("InternalError"), [SITE])
