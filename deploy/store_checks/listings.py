"""Checks of listings, by which the sweep compares a bucket with what is known: complete, in order, gone on with."""

from __future__ import annotations

from deploy.store_checks.check import Lacks, Wrong, demand
from deploy.store_checks.ground import Ground

# In the order of their bytes. A store that goes folder by folder lists "a/b" right after or before "a", whatever
# else begins with "a"; one that compares UTF-16, as Java and Windows do, has "😀" before "～".
_NAMES = ["A", "Z", "a!", "a-b", "a.txt", "a/b", "a/c/d", "a/c.txt", "a0", "b", "é", "中", "～", "😀"]
_ORDERED = sorted(_NAMES, key=str.encode)
_PAGE = 3


def order(ground: Ground) -> str:
    _fill(ground, _NAMES)
    listed = _names(ground)
    demand(sorted(listed) == sorted(_NAMES), f"the listing shows {listed}", f"{_ORDERED}")
    if listed == _ORDERED:
        return "by the bytes of the keys"
    if listed == sorted(_NAMES, key=_by_folder):
        raise Lacks("the store lists folder by folder")
    demand(_consecutive(listed), f"the listing shows {listed}", f"{_ORDERED}, or folder by folder")
    raise Lacks(f"the store lists in an order of its own: {listed}")


def pages(ground: Ground) -> None:
    """As 1,000 keys a page would be gone through, with 3."""
    _fill(ground, _NAMES)
    whole = _names(ground)
    paged = _names(ground, PaginationConfig={"PageSize": _PAGE})
    demand(paged == whole, f"page by page the listing shows {paged}", f"{whole}")


def gone_on_with(ground: Ground) -> None:
    """By `StartAfter`, from any key, until nothing comes: a sweep that was broken off goes on so."""
    _fill(ground, _NAMES)
    whole, early = _names(ground), []
    for at in (0, whole.index("a/b"), whole.index("a/c/d"), whole.index("～"), len(whole) - 1):
        rest = _names(ground, StartAfter=ground.key(whole[at]), PaginationConfig={"PageSize": _PAGE})
        if rest and rest != whole[at + 1 :]:
            early.append(whole[at])
        while rest and (more := _names(ground, StartAfter=ground.key(rest[-1]), PaginationConfig={"PageSize": _PAGE})):
            rest += more
        demand(rest == whole[at + 1 :], f"after {whole[at]!r} the listing goes on with {rest}", f"{whole[at + 1 :]}")
    if early:
        raise Lacks(
            f"a listing from {', '.join(map(repr, early))} says too early, in pages of {_PAGE}, that it is complete"
        )


def gone_on_with_what_is_gone(ground: Ground) -> None:
    _fill(ground, _NAMES)
    whole = _names(ground)
    at = whole.index("a/c.txt")
    ground.objects.delete_prefix(ground.key("a/c.txt"))
    rest = _names(ground, StartAfter=ground.key("a/c.txt"))
    demand(rest == whole[at + 1 :], f"after a key that is gone the listing goes on with {rest}", f"{whole[at + 1 :]}")


def versions(ground: Ground) -> None:
    """Every version and every marker, the newest of each key first."""
    _demand_versions(ground, ("a", "b/c", "d"), pages=(1000,))


def pages_of_versions(ground: Ground) -> None:
    """The same page by page, with a folder among the keys."""
    try:
        _demand_versions(ground, ("a!", "a/b", "a/c", "a0"), pages=(1000, _PAGE))
    except Wrong as wrong:
        raise Lacks(str(wrong)) from wrong


def _demand_versions(ground: Ground, names: tuple[str, ...], *, pages: tuple[int, ...]) -> None:
    made = {name: [ground.put_version(ground.key(name), body)[0] for body in (b"1", b"2", b"3")] for name in names}
    ground.objects.admin.delete_object(Bucket=ground.bucket, Key=ground.key(names[-1]))
    for size in pages:
        found: dict[str, list[str]] = {name: [] for name in names}
        markers = []
        for one in ground.versions(PaginationConfig={"PageSize": size}):
            name = one["Key"].removeprefix(ground.prefix)
            if "ETag" in one:
                found[name].append(one["VersionId"])
            else:
                markers.append((name, one["IsLatest"]))
        in_order = all(found[name] == made[name][::-1] for name in names)
        counts = {name: len(ids) for name, ids in found.items()}
        demand(in_order, f"in pages of {size:,}, so many versions are listed: {counts}", "3 of each, the newest first")
        demand(markers == [(names[-1], True)], f"of the delete markers {markers} are listed", f"one of {names[-1]}")


def _fill(ground: Ground, names: list[str]) -> None:
    for name in names:
        ground.put(ground.key(name), b"1")


def _names(ground: Ground, **options: object) -> list[str]:
    return [one["Key"].removeprefix(ground.prefix) for one in ground.listed(**options)]


def _by_folder(name: str) -> list[bytes]:
    return [part.encode() for part in name.split("/")]


def _consecutive(listed: list[str]) -> bool:
    """Whether each folder's keys stand together."""
    folders = [name.partition("/")[0] if "/" in name else None for name in listed]
    runs = [folder for folder, before in zip(folders, [object(), *folders[:-1]], strict=True) if folder != before]
    return all(runs.count(folder) == 1 for folder in runs if folder is not None)
