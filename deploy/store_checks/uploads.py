"""Checks of what clients do at the store by presigned URLs, and of multipart uploads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from common.errors import Conflict
from common.multipart import MIN_PART_BYTES, Part, UploadGone
from deploy.signing_key import powers
from deploy.store_checks.check import Lacks, Wrong, demand
from deploy.store_checks.ground import TEXT, Ground

_BODY = b"0123456789"
_SECRET = b"of another"
_SECONDS = 60
# How long a URL that is good for a second may go on being good: clocks differ.
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.1


def announced_is_taken(ground: Ground) -> None:
    key = ground.key("报告 1+2.txt")
    url, headers = _put(ground, key)
    _demand_taken(ground, key, ground.http.put(url, content=_BODY, headers=headers))


def other_places_and_times(ground: Ground) -> None:
    url, headers = _put(ground, ground.key("a"))
    elsewhere = ground.http.put(url.replace("/a?", "/b?"), content=_BODY, headers=headers)
    demand(elsewhere.status_code == 403, f"a URL was used for another key ({elsewhere.status_code})", "403")
    longer = ground.http.put(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), content=_BODY, headers=headers)
    demand(longer.status_code == 403, f"a URL's time was changed ({longer.status_code})", "403")
    demand(not ground.listed(), "what was refused is there all the same", "nothing")
    url, headers = ground.presigner.put(ground.key("c"), size=len(_BODY), content_type=TEXT, seconds=1)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while ground.http.put(url, content=_BODY, headers=headers).status_code == 200:
        if time.monotonic() > deadline:
            raise Wrong(f"a URL that was good for 1 s was good for {_PATIENCE_SECONDS:.0f} s; expected: that it ends")
        time.sleep(_LOOK_SECONDS)


def other_sizes_and_types(ground: Ground) -> None:
    key = ground.key("a")
    for what, body, type_ in (
        ("a larger file", _BODY + b"x", TEXT),
        ("a smaller file", _BODY[1:], TEXT),
        ("an empty file", b"", TEXT),
        ("another type", _BODY, "text/html"),
    ):
        url, headers = _put(ground, key)
        sent = headers | {"Content-Length": str(len(body)), "Content-Type": type_}
        _demand_refused(ground, key, what, ground.http.put(url, content=body, headers=sent))


def forms(ground: Ground) -> None:
    key = ground.key("a b.txt")
    for what, body, changed in (
        ("a larger file", _BODY + b"x", {}),
        ("a smaller file", _BODY[1:], {}),
        ("another key", _BODY, {"key": ground.key("b")}),
        ("another type", _BODY, {"Content-Type": "text/html"}),
    ):
        url, fields = ground.presigner.post(key, size=len(_BODY), content_type=TEXT, seconds=_SECONDS)
        answer = ground.http.post(url, data=fields | changed, files={"file": ("a", body)})
        _demand_refused(ground, changed.get("key", key), what, answer)
    url, fields = ground.presigner.post(key, size=len(_BODY), content_type=TEXT, seconds=_SECONDS)
    answer = ground.http.post(url, data=fields, files={"file": ("a", _BODY)})
    if not answer.is_success:
        raise Lacks(f"a form as announced is refused ({_said(answer)})")
    _demand_taken(ground, key, answer)


def parts(ground: Ground) -> None:
    key, first, last = ground.key("a b"), b"1" * MIN_PART_BYTES, b"2"
    upload_id = ground.begin(key)
    _send_part(ground, key, upload_id, 1, first)
    came = [(part.number, part.size) for part in ground.multipart.parts(key, upload_id)]
    demand(came == [(1, len(first))], f"of one part that came the store lists {came}", "part 1 with its size")
    _send_part(ground, key, upload_id, 2, last)
    came_all = ground.multipart.parts(key, upload_id)
    with _refused(Conflict, "parts with another ETag make an object"):
        ground.multipart.complete(key, upload_id, [Part(1, len(first), "0" * 32), came_all[1]])
    ground.multipart.complete(key, upload_id, came_all)
    found = ground.objects.look(ground.bucket, key)
    size = found.size if found else None
    demand(size == len(first) + 1, f"the object of both parts has {size} bytes", f"{len(first) + 1:,}")
    with _refused(UploadGone, "an upload that was finished lists its parts"):
        ground.multipart.parts(key, upload_id)


def other_parts(ground: Ground) -> None:
    key = ground.key("a")
    upload_id = ground.begin(key)
    url = ground.presigner.part(key, upload_id, 1, size=len(_BODY), seconds=_SECONDS)
    another = ground.http.put(url.replace("partNumber=1", "partNumber=2"), content=_BODY)
    demand(another.status_code == 403, f"a part's URL was used for another part ({another.status_code})", "403")
    larger = ground.http.put(url, content=_BODY + b"x")
    if larger.is_success:
        raise Lacks("a part that is larger than announced is taken")


def aborted(ground: Ground) -> None:
    key = ground.key("a")
    upload_id = ground.begin(key)
    _send_part(ground, key, upload_id, 1, _BODY)
    ground.multipart.abort(key, upload_id)
    ground.multipart.abort(key, upload_id)  # to repeat it must change nothing
    with _refused(UploadGone, "an upload that was aborted lists its parts"):
        ground.multipart.parts(key, upload_id)
    demand(not ground.objects.exists(key), "an aborted upload made an object", "nothing")


def open_uploads(ground: Ground) -> None:
    key = ground.key("a")
    upload_id = ground.begin(key)
    open_ = [(one.key, one.upload_id) for one in ground.multipart.open(ground.prefix)]
    if not open_:
        raise Lacks("the store lists none for a prefix")
    demand(open_ == [(key, upload_id)], f"the open uploads are {open_}", "the one that was begun")


def downloads(ground: Ground) -> None:
    key = ground.key("a.html")
    etag = ground.put(key, _BODY, ContentType="text/html")
    url = ground.presigner.get(
        ground.bucket, key, version_id=None, filename="报告 1.html", content_type=TEXT, seconds=_SECONDS
    )
    answer = ground.http.get(url)
    demand(answer.content == _BODY, f"a download got {_said(answer)}", "the object's bytes")
    demand(answer.headers["Content-Type"].startswith(TEXT), f"its type is {answer.headers['Content-Type']}", TEXT)
    name = answer.headers.get("Content-Disposition", "")
    demand(name.startswith("attachment;") and "%E6%8A%A5" in name, f"its disposition is {name!r}", "a file with a name")
    demand(answer.headers.get("ETag", "").strip('"') == etag, "its ETag is another", etag)
    other = ground.http.get(url.replace("/a.html?", "/b.html?")).status_code
    demand(other == 403, f"a URL was used for another key ({other})", "403")


def downloads_of_versions(ground: Ground) -> None:
    key = ground.key("a")
    old, _ = ground.put_version(key, _BODY)
    ground.put_version(key, b"new")
    url = ground.presigner.get(ground.bucket, key, version_id=old, filename="a", content_type=TEXT, seconds=_SECONDS)
    answer = ground.http.get(url)
    demand(answer.content == _BODY, f"a download of an older version got {_said(answer)}", "its bytes")


def restricted_keys(ground: Ground) -> None:
    if ground.restricted is None:
        raise Lacks(ground.no_key.rstrip("."))
    may = powers(ground.objects, ground.settings, ground.restricted, ground.prefix)
    demand(may == {"upload"}, f"a key with the policy of uploads may {', '.join(sorted(may)) or 'nothing'}", "upload")


def slipped_in_copies(ground: Ground) -> None:
    """CVE-2026-97731: what a client adds to a presigned PUT is not signed."""
    secret = f"artifacts/{ground.name}/secret"
    ground.put(secret, _SECRET)
    steal = {"x-amz-copy-source": f"/{ground.bucket}/{secret}"}
    key = ground.key("a")
    url, headers = _put(ground, key)
    ground.http.put(url, content=_BODY, headers=headers | steal)
    stolen = b"".join(ground.objects.lines(key)) if ground.objects.exists(key) else b""
    upload_id = ground.begin(key)
    url = ground.presigner.part(key, upload_id, 1, size=len(_BODY), seconds=_SECONDS)
    part = ground.http.put(url, content=_BODY, headers=steal)
    if stolen == _SECRET or (part.is_success and b"CopyPartResult" in part.content):
        if ground.restricted:
            raise Wrong("a client had the store copy what the restricted key may not read; expected: a refusal")
        raise Lacks("a client can have the store copy whatever the main key may read")


def _put(ground: Ground, key: str) -> tuple[str, dict[str, str]]:
    return ground.presigner.put(key, size=len(_BODY), content_type=TEXT, seconds=_SECONDS)


def _send_part(ground: Ground, key: str, upload_id: str, number: int, body: bytes) -> None:
    url = ground.presigner.part(key, upload_id, number, size=len(body), seconds=_SECONDS)
    answer = ground.http.put(url, content=body)
    demand(answer.is_success, f"a part is refused ({_said(answer)})", "that it is taken")


def _demand_taken(ground: Ground, key: str, answer: httpx.Response) -> None:
    demand(answer.is_success, f"what was announced is refused ({_said(answer)})", "that it is taken")
    body = ground.objects.admin.get_object(Bucket=ground.bucket, Key=key)["Body"].read()
    demand(body == _BODY, "what was put is there with other bytes", "the same")
    found = ground.objects.look(ground.bucket, key)
    type_ = found.content_type if found else None
    demand(type_ == TEXT, f"what was put has the type {type_}", TEXT)


def _demand_refused(ground: Ground, key: str, what: str, answer: httpx.Response) -> None:
    if answer.is_success:
        raise Lacks(f"{what} than announced is taken")
    demand(not ground.objects.exists(key), f"{what} was refused and is there all the same", "nothing")


@contextmanager
def _refused(error: type[Exception], otherwise: str) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise Wrong(f"{otherwise}; expected: that the store refuses")


def _said(answer: httpx.Response) -> str:
    """What an answer says, in a line."""
    return f"{answer.status_code} {' '.join(answer.text.split())[:200]}".strip()
