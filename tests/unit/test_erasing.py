"""A document's bytes are erased, with their versions and markers, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.erasing import KnownBytes, erase
from common.objects import ObjectStore

KEY = "incoming/drop.txt"


class Bucket:
    def __init__(self, objects: ObjectStore, name: str, *, versioned: bool) -> None:
        self.objects, self.name = objects, name
        objects.admin.create_bucket(Bucket=name)
        if versioned:
            objects.admin.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, body: bytes, key: str = KEY) -> tuple[str, str | None]:
        """Its ETag and version id."""
        answer = self.objects.admin.put_object(Bucket=self.name, Key=key, Body=body)
        return answer["ETag"].strip('"'), answer.get("VersionId")

    def known(self, *puts: tuple[str, str | None], key: str = KEY, **more: Any) -> KnownBytes:
        return KnownBytes(
            self.name,
            key,
            frozenset(etag for etag, _ in puts),
            frozenset(version for _, version in puts if version),
            frozenset(),
            **({"live": False, "announced": False} | more),
        )

    def erase(self, known: KnownBytes) -> dict[str, Any]:
        return erase(self.objects, known, check=lambda: None)

    def left(self) -> list[tuple[str, str]]:
        """Key and version id of all that is there, markers too."""
        found = self.objects.admin.list_object_versions(Bucket=self.name)
        rows = [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]
        return sorted((row["Key"], row["VersionId"]) for row in rows)

    def shows(self, key: str = KEY) -> bool:
        return self.objects.look(self.name, key) is not None


@pytest.fixture
def plain(store: ObjectStore, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(store, f"plain-{abs(hash(request.node.name))}", versioned=False)


@pytest.fixture
def kept(store: ObjectStore, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(store, f"kept-{abs(hash(request.node.name))}", versioned=True)


def test_an_object_that_a_version_knows_goes_and_a_second_run_is_content(plain: Bucket) -> None:
    known = plain.known(plain.put(b"mine"))
    assert plain.erase(known) == {"objects": 1}
    assert plain.left() == []
    assert plain.erase(known) == {"objects": 0}


def test_bytes_that_no_version_knows_stay(plain: Bucket) -> None:
    known = plain.known(plain.put(b"mine"))
    plain.put(b"another's")
    assert plain.erase(known)["left"]
    assert plain.shows()


def test_the_same_bytes_stay_where_another_document_lives(plain: Bucket) -> None:
    known = plain.known(plain.put(b"mine"), live=True)
    plain.erase(known)
    assert plain.shows()


def test_whatever_came_to_a_key_of_its_own_goes(plain: Bucket) -> None:
    plain.put(b"never told", key="incoming/id/a.txt")
    plain.erase(plain.known(key="incoming/id/a.txt", announced=True))
    assert plain.left() == []


def test_a_multipart_upload_that_was_begun_is_aborted(plain: Bucket) -> None:
    client = plain.objects.admin
    upload = client.create_multipart_upload(Bucket=plain.name, Key=KEY)["UploadId"]
    known = replace(plain.known(), upload_ids=frozenset({upload}))
    plain.erase(known)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=plain.name)
    plain.erase(known)


def test_of_a_versioned_key_all_versions_and_markers_go_but_no_other_keys(kept: Bucket) -> None:
    puts = [kept.put(body) for body in (b"1", b"2")]
    kept.objects.admin.delete_object(Bucket=kept.name, Key=KEY)
    puts.append(kept.put(b"3"))
    other = kept.put(b"other", key=KEY + ".bak")
    assert kept.erase(kept.known(*puts))["objects"] == 4  # hidden, and then three versions
    assert kept.left() == [(KEY + ".bak", other[1])]
    assert kept.erase(kept.known(*puts)) == {"objects": 0}


def test_no_older_version_comes_to_light(kept: Bucket) -> None:
    former = kept.put(b"of a document before")
    kept.objects.admin.delete_object(Bucket=kept.name, Key=KEY)
    kept.erase(kept.known(kept.put(b"mine")))
    assert not kept.shows()
    assert (KEY, former[1]) in kept.left()
    assert len(kept.left()) > 1  # a marker hides it


def test_a_newer_version_is_not_hidden_though_those_before_it_go(kept: Bucket) -> None:
    mine = kept.put(b"mine")
    newer = kept.put(b"newer")
    kept.erase(kept.known(mine, live=True))
    assert kept.left() == [(KEY, newer[1])]
    mine = kept.put(b"mine again")
    newer = kept.put(b"not told yet")
    assert kept.erase(kept.known(mine))["left"]
    assert kept.shows()


def test_a_bucket_that_is_gone_holds_nothing(store: ObjectStore) -> None:
    known = KnownBytes("nobodys", KEY, frozenset({"e"}), frozenset({"v"}), frozenset({"u"}), False, False)
    assert erase(store, known, check=lambda: None) == {"objects": 0}
