"""How `brigade migrate` prepares the servers, and leaves alone what is not ours."""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from common.errors import Unavailable
from common.objects import ObjectStore
from common.settings import Settings
from deploy import migrate


def test_queues_are_there_before_the_rules_that_make_the_store_send(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    services = SimpleNamespace(objects=None, close=lambda: None)
    monkeypatch.setattr(migrate, "Services", lambda _: services)
    monkeypatch.setattr(migrate, "prepare_index", lambda *_, **__: done.append("collection"))
    monkeypatch.setattr(migrate, "migrate", lambda _: done.append("tables"))
    monkeypatch.setattr(migrate, "_admin_key", lambda _: done.append("key"))
    monkeypatch.setattr(migrate, "_topology", lambda _: done.append("queues"))
    monkeypatch.setattr(migrate, "_bucket", lambda *_: done.append("rules"))
    monkeypatch.setattr(migrate, "allow_origins", lambda *_: done.append("origins"))
    monkeypatch.setattr(migrate, "ensure_signing_key", lambda *_: done.append("signing key"))
    migrate.prepare(Settings(_env_file=None))
    assert done == ["tables", "key", "collection", "queues", "rules", "origins", "signing key"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_postgres_that_does_not_answer_is_unavailable_in_a_sentence(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGADE_SERVER_TIMEOUT_SECONDS", "2")  # libpq's shortest
    with pytest.raises(Unavailable, match=r"Postgres did not answer: .*timeout expired"):
        migrate.migrate(f"postgresql://127.0.0.1:{silent_port}/brigade")


class StubAdmin:
    """A bucket's rules as an S3 client gives and takes them; `puts` counts how often they were replaced."""

    def __init__(self, **configuration: Any) -> None:
        self.configuration, self.puts = configuration, 0

    def create_bucket(self, **_: str) -> None:
        pass

    def get_bucket_notification_configuration(self, **_: str) -> dict[str, Any]:
        return copy.deepcopy(self.configuration) | {"ResponseMetadata": {}}

    def put_bucket_notification_configuration(self, *, NotificationConfiguration: dict[str, Any], **_: str) -> None:  # noqa: N803 - boto3's
        self.configuration, self.puts = NotificationConfiguration, self.puts + 1

    def prepare(self, *arns: str) -> list[str]:
        """The Ids of the queues' rules afterwards."""
        objects = cast("ObjectStore", SimpleNamespace(admin=self, bucket="bucket"))
        migrate._bucket(objects, Settings(_env_file=None, notification_arns=list(arns)))
        return [rule.get("Id", "") for rule in self.configuration["QueueConfigurations"]]


FAST, SAFE = (f"arn:minio:sqs::{name}:webhook" for name in ("FAST", "SAFE"))
THEIRS = {"Id": "theirs", "QueueArn": FAST, "Events": ["s3:ObjectCreated:Put"]}


def test_the_rules_that_others_made_on_the_bucket_stay() -> None:
    others: dict[str, Any] = {
        "TopicConfigurations": [{"Id": "t", "TopicArn": "arn:aws:sns:::t", "Events": ["s3:ObjectCreated:*"]}],
        "LambdaFunctionConfigurations": [{"Id": "l", "LambdaFunctionArn": "arn:aws:lambda:::l", "Events": []}],
        "EventBridgeConfiguration": {},
    }
    admin = StubAdmin(QueueConfigurations=[THEIRS], **others)
    assert admin.prepare(FAST) == ["theirs", "brigade-0-incoming"]
    assert admin.configuration["QueueConfigurations"][0] == THEIRS
    assert {name: admin.configuration[name] for name in others} == others


def test_rules_of_ours_that_are_no_longer_wanted_go() -> None:
    admin = StubAdmin(QueueConfigurations=[THEIRS])
    admin.prepare(FAST, SAFE)
    assert admin.prepare(SAFE) == ["theirs", "brigade-0-incoming"]
    assert admin.configuration["QueueConfigurations"][1]["QueueArn"] == SAFE


def test_rules_that_are_right_are_not_written_again() -> None:
    admin = StubAdmin(QueueConfigurations=[THEIRS])
    admin.prepare(FAST, SAFE)
    admin.prepare(FAST, SAFE)
    assert admin.puts == 1


def test_a_rule_of_ours_is_known_by_what_it_says_when_the_store_rewrote_it() -> None:
    admin = StubAdmin(QueueConfigurations=[])
    admin.prepare(FAST)
    (rule,) = admin.configuration["QueueConfigurations"]
    del rule["Id"]
    rule["QueueArn"] = FAST.replace("::", ":us-east-1:")
    rule["Events"].reverse()
    rule["Filter"]["Key"]["FilterRules"][0]["Name"] = "Prefix"
    assert admin.prepare(FAST) == [""]
    assert admin.puts == 1
    assert admin.prepare(FAST, SAFE) == ["brigade-0-incoming", "brigade-1-incoming"]


def test_a_store_that_does_not_know_its_targets_yet_is_given_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, False])
    puts: list[object] = []

    def put(**rules: object) -> None:
        puts.append(rules)
        if next(answers):
            raise ClientError({"Error": {"Code": "InvalidArgument", "Message": "no such ARN"}}, "Put")

    admin = SimpleNamespace(put_bucket_notification_configuration=put)
    objects = cast(ObjectStore, SimpleNamespace(admin=admin, bucket="b"))
    monkeypatch.setattr(migrate, "_ARN_SECONDS", 0)
    migrate._put_rules(objects, {}, patience_seconds=5)
    assert len(puts) == 3
    answers = iter([True])
    with pytest.raises(ClientError):
        migrate._put_rules(objects, {}, patience_seconds=-1)


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "NotImplemented"])
def test_a_store_that_tells_nobody_of_events_is_warned_of_and_is_no_failure(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = StubAdmin(QueueConfigurations=[])

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, "PutBucketNotificationConfiguration")

    monkeypatch.setattr(admin, "put_bucket_notification_configuration", refuse)
    with capture_logs() as said:
        assert admin.prepare(FAST) == []
    assert [(line["event"], line["reason"]) for line in said] == [("bucket.no_notifications", code)]
