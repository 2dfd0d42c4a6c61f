"""Checks of keys: what a store takes it must list, find, copy and delete under exactly that name."""

from __future__ import annotations

import unicodedata

from botocore.exceptions import ClientError

from common.erasing import KnownBytes, erase
from deploy.store_checks.check import Lacks, demand
from deploy.store_checks.ground import TEXT, Ground

_NFC = unicodedata.normalize("NFC", "Café 각")
_NFD = unicodedata.normalize("NFD", _NFC)
_MAX_KEY_BYTES = 1024
_MAX_NAME_BYTES = 255  # of a name in most file systems, which some stores keep objects in


def signs(ground: Ground) -> None:
    _each(ground, ["a b+c %25 100% %2F.txt", "a&b=c?d#e;f,g:h@i.txt", "$!'()*~_-[x]{y}|^`<z>\".txt"])


def languages(ground: Ground) -> None:
    _each(ground, ["报告（最终版）2024年.pdf", "отчёт.txt", "תקציר.txt", "😀👨‍👩‍👧.txt"])


def normal_forms(ground: Ground) -> None:
    _each(ground, [_NFC, _NFD])


def case(ground: Ground) -> None:
    _each(ground, ["Report.txt", "report.txt"])


def outer_spaces(ground: Ground) -> None:
    _each(ground, [" a", "b ", "c / d"])


def backslashes(ground: Ground) -> None:
    _each(ground, ["a\\b.txt"])


def controls(ground: Ground) -> None:
    _each(ground, ["a\tb", "a\nb", "a\x7fb"])


def long_keys(ground: Ground) -> None:
    room = _MAX_KEY_BYTES - len(ground.prefix.encode())
    segments = "/".join("x" * 200 for _ in range(6))[:room]
    _each(ground, [segments[:-1] + "y"])


def long_names(ground: Ground) -> None:
    _each(ground, ["x" * (_MAX_NAME_BYTES + 1)])


def empty_folders(ground: Ground) -> None:
    _each(ground, ["a//b", "a/b"])


def folder_objects(ground: Ground) -> None:
    _each(ground, ["folder/"])


def dots(ground: Ground) -> None:
    _each(ground, ["a/./b", "a/../b", ".hidden", "c/.."])


def objects_below_objects(ground: Ground) -> None:
    _each(ground, ["a", "a/b"])


def folders_above_folders(ground: Ground) -> None:
    _each(ground, ["c/d", "c"])


def _each(ground: Ground, names: list[str]) -> None:
    """Put an object under each, then look for all of them. Raises `Lacks` naming those that the store refuses."""
    keys = [ground.key(name) for name in names]
    etags = {key: etag for key in keys if (etag := _put(ground, key)) is not None}
    if len(etags) < len(keys):
        raise Lacks(f"refused: {', '.join(repr(key) for key in keys if key not in etags)}"[:300])
    listed = {one["Key"]: one["ETag"].strip('"') for one in ground.listed()}
    if listed != etags:
        hidden = [key for key in keys if key not in listed]
        others = [key for key in listed if key not in keys]
        raise Lacks(
            f"of {keys} the listing does not show {hidden}, and shows {others}"
            if hidden or others
            else f"{keys} are the same object"
        )
    for key, etag in etags.items():
        _follow(ground, key, etag)
    demand(not ground.listed(), "after their deletion some are still listed", "none")


def _put(ground: Ground, key: str) -> str | None:
    """Its ETag, or None if the store refuses it."""
    try:
        return ground.put(key, key.encode())
    except ClientError as error:
        if (
            error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
            or error.response["Error"]["Code"] == "NotImplemented"
        ):
            return None
        raise


def _follow(ground: Ground, key: str, etag: str) -> None:
    """What a document's object goes through: it is found, pinned, downloaded, deleted."""
    body = key.encode()
    found = ground.objects.look(ground.bucket, key)
    demand(found is not None and found.etag == etag, f"under {key!r} the store finds {found}", "the object")
    pin = ground.objects.pin(ground.target(key, etag), 1 << 20)
    demand(ground.read(pin) == body, f"the copy of {key!r} has other bytes", "the same")
    if "/." not in key:  # clients and browsers take such segments out of a URL
        url = ground.presigner.get(ground.bucket, key, version_id=None, filename="a", content_type=TEXT, seconds=60)
        answer = ground.http.get(url)
        demand(answer.content == body, f"a download of {key!r} got {answer.status_code}", "its bytes")
    erase(
        ground.objects,
        KnownBytes(ground.bucket, key, frozenset({etag}), frozenset(), frozenset(), live=False, announced=False),
        check=_nothing,
    )
    demand(not ground.objects.exists(key), f"{key!r} is still there after its deletion", "nothing")


def _nothing() -> None:
    pass
