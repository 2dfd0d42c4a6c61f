"""`brigade check-store` as a user calls it, what it leaves behind, and what of the product SeaweedFS changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin
from structlog.testing import capture_logs

from common.objects import ObjectStore
from common.settings import Settings
from deploy import migrate
from deploy.local.servers import LocalServers
from deploy.local.store import Store
from deploy.store_checks.check import Verdict, run
from deploy.store_checks.events import EVENTS
from deploy.store_checks.table import CHECKS
from deploy.store_checks.trial import OURS, trial
from tests.integration.system import System
from tests.processes import LOOPBACK, listening_of, wait_until
from tests.seaweedfs import SeaweedFS

pytestmark = pytest.mark.integration

COMMAND = (sys.executable, "-m", "deploy.cli", "check-store")


def environment(store: Store | SeaweedFS) -> dict[str, str]:
    return dict(os.environ) | {
        "BRIGADE_S3_ENDPOINT": store.endpoint,
        "BRIGADE_S3_ACCESS_KEY": store.access_key,
        "BRIGADE_S3_SECRET_KEY": store.secret_key,
    }


def objects_at(store: Store | SeaweedFS, bucket: str) -> ObjectStore:
    named = {"s3_endpoint": store.endpoint, "s3_access_key": store.access_key, "s3_secret_key": store.secret_key}
    return ObjectStore(Settings.model_validate(named | {"bucket": bucket}))


def left_behind(store: Store) -> list[str]:
    """Buckets, keys and policies of checks."""
    buckets = [one["Name"] for one in objects_at(store, "any").admin.list_buckets()["Buckets"]]
    admin = MinioAdmin(
        endpoint=f"127.0.0.1:{store.port}", credentials=StaticProvider(store.access_key, store.secret_key), secure=False
    )
    named = [*buckets, *json.loads(admin.user_list()), *json.loads(admin.policy_list())]
    return [name for name in named if name.startswith(OURS)]


def test_a_bucket_that_is_there_keeps_what_it_holds_and_gets_nothing_else(seaweedfs: SeaweedFS) -> None:
    objects = objects_at(seaweedfs, "of-others")
    objects.admin.create_bucket(Bucket="of-others")
    theirs = ["artifacts/t1/pin", "brigade-check", "incoming/a.txt"]
    for key in theirs:
        objects.admin.put_object(Bucket="of-others", Key=key, Body=b"theirs")
    ran = subprocess.run(
        [*COMMAND, "--bucket", "of-others", "--json"], env=environment(seaweedfs), capture_output=True, check=False
    )
    told = json.loads(ran.stdout)
    verdicts = {one["name"]: one["verdict"] for one in told["checks"]}
    assert (ran.returncode, told["passed"], list(verdicts)) == (0, True, [check.name for check in CHECKS])
    # What it cannot try without changing others' rules, it says.
    assert {name for name, verdict in verdicts.items() if verdict == "not tried"} == {
        "pages of other sites",
        "notification rules",
    }
    assert verdicts["pins by version"] == "instead"
    assert [one["Key"] for one in objects.admin.list_objects_v2(Bucket="of-others")["Contents"]] == theirs
    assert "Uploads" not in objects.admin.list_multipart_uploads(Bucket="of-others")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_when_it_is_interrupted(servers: LocalServers, number: signal.Signals) -> None:
    store = servers.store
    with subprocess.Popen(
        COMMAND, env=environment(store), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: len(left_behind(store)) >= 4, seconds=90, what="two buckets, a key and its policy")
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, left_behind(store)) == (130, [])
    assert b"Interrupted" in said


def test_a_failure_leaves_nothing_behind(servers: LocalServers) -> None:
    store = servers.store

    def fail() -> None:
        with trial(objects_at(store, "any")._settings) as made:
            made.plain.put(made.plain.key("a"), b"1")
            made.plain.begin(made.plain.key("b"))
            assert left_behind(store)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert left_behind(store) == []


def test_a_store_that_does_not_answer_is_named_in_a_sentence(seaweedfs: SeaweedFS) -> None:
    nobody = environment(seaweedfs) | {"BRIGADE_S3_SECRET_KEY": "wrong"}
    ran = subprocess.run(COMMAND, env=nobody, capture_output=True, check=False, text=True)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "The store refused making the bucket brigade-check-" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_notifications_are_waited_for_and_make_no_documents(system: System, servers: LocalServers) -> None:
    with trial(system.settings) as made:
        result = run(EVENTS, made)
    assert result.verdict is Verdict.OK, result
    assert [target.split(" in ")[0] for target in result.found.split(", ")] == system.settings.notification_arns
    documents = system.client.documents.list()
    assert [one.name for one in documents if OURS in one.bucket_name] == []


def test_a_target_that_tells_nothing_is_named(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.store_checks.events.set_rules", lambda *_: None)
    monkeypatch.setattr("deploy.store_checks.events._PATIENCE_SECONDS", 0.5)
    with trial(system.settings) as made:
        result = run(EVENTS, made)
    assert result.verdict is Verdict.INSTEAD
    assert result.found.startswith("arn:minio:sqs::FAST:webhook told nothing")


def test_migrate_prepares_a_store_that_has_no_notifications(seaweedfs: SeaweedFS) -> None:
    objects = objects_at(seaweedfs, "to-prepare")
    with capture_logs() as said:
        for _ in range(2):
            migrate._bucket(objects, objects._settings)
    assert [line["event"] for line in said] == ["bucket.no_notifications"] * 2
    assert "the sweep alone" in said[0]["hint"]
    assert objects.admin.head_bucket(Bucket="to-prepare")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_seaweedfs_listens_on_this_machine_only(seaweedfs: SeaweedFS) -> None:
    assert seaweedfs.pid is not None
    listening = listening_of(seaweedfs.pid)
    assert len(listening) >= 5
    assert [address for address in listening if address not in LOOPBACK] == []
