"""Checks of keys: what a store takes it must list, find, copy and delete under exactly that name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from botocore.exceptions import ClientError

from common.erasing import KnownBytes, erase
from common.errors import Rejected
from deploy.store_checks.check import Lacks, demand
from deploy.store_checks.ground import TEXT, Ground

_NFC = unicodedata.normalize("NFC", "Café 각")
_NFD = unicodedata.normalize("NFD", _NFC)
_MAX_KEY_BYTES = 1024
_MAX_BYTES = 1 << 20
_SHOWN = 40
_HIDDEN = "What is below an object can be left out of listings, so the sweep does not find it: put nothing there."
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
    """Empty, as consoles make them; some stores make a folder of them, which is no object."""
    key = ground.key("folder/")
    etag = _put(ground, key, b"")
    if etag is None:
        raise Lacks(f"refused: {_shown(ground, [key])}")
    listed, found = [one["Key"] for one in ground.listed()], ground.objects.look(ground.bucket, key)
    try:
        pinned = found is not None and ground.objects.pin(ground.target(key, found.etag), 0).size == 0
    except Rejected:
        pinned = False
    erase(ground.objects, _known(ground, key, etag), check=_nothing)
    demand(not ground.objects.exists(key), "a folder is still there after its deletion", "nothing")
    if listed != [key] or not pinned:
        raise Lacks(f"a folder that is put is {'' if listed == [key] else 'not '}listed and cannot be copied")


def dots(ground: Ground) -> None:
    _each(ground, ["a/./b", "a/../b", ".hidden", "c/.."])


def objects_below_objects(ground: Ground) -> None:
    _each(ground, ["a", "a/b"], renamed=_HIDDEN)


def folders_above_folders(ground: Ground) -> None:
    _each(ground, ["c/d", "c"], renamed=_HIDDEN)


def _each(ground: Ground, names: list[str], renamed: str = "") -> None:
    """Put an object under each, then look for all of them. Raises `Lacks` naming what the store refuses or renames.

    `renamed`: what is done where it lists others than were put, if not what the check says.
    """
    keys = [ground.key(name) for name in names]
    etags = {key: etag for key in keys if (etag := _put(ground, key, key.encode())) is not None}
    if len(etags) < len(keys):
        raise Lacks(f"refused: {_shown(ground, [key for key in keys if key not in etags])}")
    listed = {one["Key"]: one["ETag"].strip('"') for one in ground.listed()}
    if set(listed) != set(keys):
        raise Lacks(f"put {_shown(ground, keys)}, listed {_shown(ground, listed)}", renamed)
    if listed != etags:
        raise Lacks(f"{_shown(ground, keys)} are the same object")
    paged = [one["Key"] for one in ground.listed(PaginationConfig={"PageSize": 1})]
    if sorted(paged) != sorted(keys):
        raise Lacks(f"put {_shown(ground, keys)}, listed in pages of one {_shown(ground, paged)}", instead=_HIDDEN)
    for key, etag in etags.items():
        _follow(ground, key, etag)
    demand(not ground.listed(), "after their deletion some are still listed", "none")


def _put(ground: Ground, key: str, body: bytes) -> str | None:
    """Its ETag, empty if none is told; None if the store refuses it. JuiceFS calls that an internal error."""
    try:
        return ground.put(key, body)
    except ClientError:
        return None


def _follow(ground: Ground, key: str, etag: str) -> None:
    """What a document's object goes through: it is found, pinned, downloaded, deleted."""
    body = key.encode()
    found = ground.objects.look(ground.bucket, key)
    demand(found is not None and found.etag == etag, f"under {key!r} the store finds {found}", "the object")
    pin = ground.objects.pin(ground.target(key, etag), _MAX_BYTES)
    demand(ground.read(pin) == body, f"the copy of {key!r} has other bytes", "the same")
    if "/." not in key:  # clients and browsers take such segments out of a URL
        url = ground.presigner.get(ground.bucket, key, version_id=None, filename="a", content_type=TEXT, seconds=60)
        answer = ground.http.get(url)
        demand(answer.content == body, f"a download of {key!r} got {answer.status_code}", "its bytes")
    erase(ground.objects, _known(ground, key, etag), check=_nothing)
    demand(not ground.objects.exists(key), f"{key!r} is still there after its deletion", "nothing")


def _known(ground: Ground, key: str, etag: str) -> KnownBytes:
    return KnownBytes(ground.bucket, key, frozenset({etag}), frozenset(), frozenset(), live=False, announced=True)


def _shown(ground: Ground, keys: Iterable[str]) -> str:
    names = [repr(key.removeprefix(ground.prefix)) for key in keys]
    return ", ".join(name if len(name) < _SHOWN else f"{name[:_SHOWN]}…" for name in names) or "nothing"


def _nothing() -> None:
    pass
