"""What a check says of a store, and that a store which refuses nothing is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from moto import mock_aws

from common.objects import ObjectStore
from common.settings import Settings
from deploy.buckets import make_bucket
from deploy.store_checks.check import Check, Lacks, Verdict, Wrong, run
from deploy.store_checks.ground import Ground
from deploy.store_checks.table import CHECKS
from deploy.store_checks.trial import Trial, trial

NOWHERE = cast("Ground", SimpleNamespace(within=lambda _: None))
HERE = Trial(NOWHERE, NOWHERE, "", own=True)


def check(found: Exception | str, **options: Any) -> Check:
    def look(_: Ground) -> str:
        if isinstance(found, str):
            return found
        raise found

    return Check("a check", look, "Something", **options)


@pytest.mark.parametrize(
    ("made", "verdict", "found", "then"),
    [
        (check("as it should"), Verdict.OK, "as it should", ""),
        (check(Lacks("not here"), instead="Another way."), Verdict.INSTEAD, "not here", "Another way."),
        (check(Lacks("not here", "A third."), instead="Another way."), Verdict.INSTEAD, "not here", "A third."),
        (check(Lacks("not here"), advice="Do this."), Verdict.FAILED, "not here", "Do this."),
        (check(Wrong("it lies"), instead="Another way.", advice="Do this."), Verdict.FAILED, "it lies", "Do this."),
        (check(KeyError("ETag")), Verdict.FAILED, "KeyError: 'ETag'", ""),
    ],
    ids=["ok", "instead", "instead of its own", "required", "wrong", "unforeseen"],
)
def test_what_a_check_finds_is_a_verdict(made: Check, verdict: Verdict, found: str, then: str) -> None:
    result = run(made, HERE)
    assert (result.verdict, result.found, result.then) == (verdict, found, then)


def test_what_needs_versions_is_done_otherwise_where_there_are_none() -> None:
    none = replace(HERE, versioned=None, no_versions="no versions")
    result = run(check("never asked", needs_versions=True, instead="By copy."), none)
    assert (result.verdict, result.found, result.then) == (Verdict.INSTEAD, "no versions", "By copy.")


def test_rules_of_a_bucket_that_is_not_ours_are_left_alone() -> None:
    assert run(check("never asked", sets_rules=True), replace(HERE, own=False)).verdict is Verdict.NOT_TRIED


def test_every_check_that_needs_versions_or_rules_says_what_is_done_without() -> None:
    assert [one.name for one in CHECKS if (one.needs_versions or one.sets_rules) and not one.instead] == []
    assert len({one.name for one in CHECKS}) == len(CHECKS)


@pytest.fixture(scope="module")
def gullible(endpoint: str) -> Iterator[Trial]:
    """At moto's S3, which believes every signature."""
    named = {"s3_endpoint": endpoint, "s3_access_key": "key", "s3_secret_key": "secret"}
    with trial(Settings.model_validate(named)) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "verdict", "found"),
    [
        ("uploads as announced", Verdict.OK, ""),
        ("pins by version", Verdict.OK, ""),
        ("uploads elsewhere", Verdict.FAILED, "a URL was used for another key (200); expected: 403"),
        ("uploads of other sizes", Verdict.INSTEAD, "a larger file than announced is taken"),
        (
            "copies slipped into uploads",
            Verdict.INSTEAD,
            "a client can have the store copy whatever the main key may read",
        ),
    ],
)
def test_a_store_that_refuses_nothing_is_found_out(gullible: Trial, name: str, verdict: Verdict, found: str) -> None:
    (asked,) = (one for one in CHECKS if one.name == name)
    result = run(asked, gullible)
    assert (result.verdict, result.found) == (verdict, found), result


def test_a_bucket_is_made_in_the_region_of_the_settings() -> None:
    named = {"s3_access_key": "k", "s3_secret_key": "s", "bucket": "ours", "s3_region": "eu-central-1"}
    with mock_aws():
        objects = ObjectStore(Settings.model_validate(named | {"s3_endpoint": "https://s3.eu-central-1.amazonaws.com"}))
        for _ in range(2):
            make_bucket(objects, "eu-central-1")
        assert objects.admin.get_bucket_location(Bucket="ours")["LocationConstraint"] == "eu-central-1"
