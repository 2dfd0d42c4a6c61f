"""Checks of bytes: what is put is what is read, at once, and missing things are said to be missing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from common.errors import Rejected
from common.records import Pin
from deploy.store_checks.check import Lacks, Wrong, demand
from deploy.store_checks.ground import TEXT, Ground

# Several of what ObjectStore reads at once, and lines that end across them.
_LINE = b"a line of an artifact\n"
_LINES = 40_000
# Beyond this, how long a URL is good for differs from what clients are told.
_SKEW_SECONDS = 5
# S3 allows 2 KB of metadata in all.
_METADATA = {"source": "x" * 1900}


def written_is_read(ground: Ground) -> None:
    key, body = ground.key("lines.jsonl"), _LINE * _LINES
    ground.objects.put_stream(key, BytesIO(body), len(body))
    pin = Pin(ground.bucket, key, etag="", size=len(body))
    demand(ground.read(pin) == body, "other bytes came back", "what was written")
    middle = ground.objects.read_range(pin, 300_001, 1000)
    demand(middle == body[300_001:301_001], f"of a range of 1,000 bytes {len(middle)} came", "exactly these")
    demand(ground.objects.read_range(pin, len(body) - 5, 100) == body[-5:], "the last bytes were others", "the last 5")
    whole = [_LINE.rstrip()] * _LINES
    demand(list(ground.objects.lines(key)) == whole, "the lines came otherwise", "as they were written")
    span = (len(_LINE) * 10, len(_LINE) * 12)
    demand(list(ground.objects.lines(key, span)) == whole[10:12], "a span of lines was another", "lines 11 and 12")
    with TemporaryDirectory() as directory:
        file = Path(directory) / "file"
        ground.objects.download(pin, file)
        demand(file.read_bytes() == body, "a download had other bytes", "what was written")


def empty_objects(ground: Ground) -> None:
    key = ground.key("empty")
    ground.put(key, b"")
    found = ground.objects.look(ground.bucket, key)
    demand(found is not None and found.size == 0, f"of an empty object the store tells {found}", "an object of 0 bytes")
    pin = ground.objects.pin(ground.target(key, found.etag if found else ""), 0)
    demand(ground.objects.read_range(pin, 0, 100) == b"", "its copy is not empty", "no bytes")


def etags(ground: Ground) -> None:
    key = ground.key("a")
    first, again, other = ground.put(key, b"1"), ground.put(key, b"1"), ground.put(key, b"2")
    demand(bool(first) and first == again, f"the same bytes got the ETags {first} and {again}", "the same")
    demand(first != other, f"other bytes got the same ETag {first}", "another")
    found = ground.objects.look(ground.bucket, key)
    (listed,) = ground.listed()
    told = {other, found.etag if found else "", listed["ETag"].strip('"')}
    demand(len(told) == 1, f"PUT, HEAD and the listing tell {sorted(told)}", "the same ETag")


def missing_objects(ground: Ground) -> None:
    key = ground.key("never-put")
    demand(ground.objects.look(ground.bucket, key) is None, "something is there", "nothing")
    demand(not ground.objects.exists(key), "it exists", "nothing")
    try:
        ground.objects.pin(ground.target(key, "etag"), 0)
    except Rejected as gone:
        demand(gone.code == "OBJECT_GONE", gone.message, "that it is gone")
    else:
        raise Wrong("what is not there was pinned; expected: that it is gone")


def at_once(ground: Ground) -> None:
    key = ground.key("a")
    for round_ in range(3):
        etag = ground.put(key, b"%d" % round_)
        listed = [one["ETag"].strip('"') for one in ground.listed()]
        demand(listed == [etag], f"after a PUT the listing showed {listed}", f"[{etag}]")
        pin = ground.objects.pin(ground.target(key, etag), 100)
        demand(ground.read(pin) == b"%d" % round_, "an overwritten object was read as it had been", "the new bytes")
        ground.objects.delete_prefix(key)
        demand(not ground.listed(), "after a DELETE the listing still showed the object", "nothing")
        demand(ground.objects.look(ground.bucket, key) is None, "after a DELETE it could still be read", "nothing")


def types_and_metadata(ground: Ground) -> None:
    key = ground.key("a")
    etag = ground.put(key, b"1", ContentType="application/pdf", Metadata=_METADATA)
    pin = ground.objects.pin(ground.target(key, etag), 100)
    demand(ground.read(pin) == b"1", "what has much metadata was copied otherwise", "the same bytes")
    found = ground.objects.look(ground.bucket, key)
    if found is None or found.content_type != "application/pdf":
        raise Lacks(f"of a PDF the store tells the type {found.content_type if found else None}")


def clocks(ground: Ground) -> str:
    url = ground.presigner.get(
        ground.bucket, ground.key("a"), version_id=None, filename="a", content_type=TEXT, seconds=60
    )
    before = datetime.now(UTC)
    told = ground.http.get(url).headers.get("Date")
    after = datetime.now(UTC)
    if told is None:
        raise Lacks("the store tells no time")
    # It tells whole seconds, so up to one of them is no difference.
    theirs = parsedate_to_datetime(told)
    skew = max((theirs - after).total_seconds(), (before - theirs).total_seconds() - 1, 0)
    if skew > _SKEW_SECONDS:
        raise Lacks(f"the store's clock and ours differ by {skew:.0f} s")
    return f"within {max(skew, 1):.0f} s"


def times(ground: Ground) -> str:
    """How finely the listing, and a HEAD, tell when an object was written."""
    for number in range(3):
        ground.put(ground.key(str(number)), b"1")
        time.sleep(0.011)  # so that three times with no fraction are no chance
    listed = [one["LastModified"] for one in ground.listed()]
    if all(one.microsecond == 0 for one in listed):
        raise Lacks("listings tell the time in whole seconds")
    return "listings tell milliseconds"
