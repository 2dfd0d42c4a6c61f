"""POST /documents/upload with 1 GiB: what it takes of the API, how fast it is, and how soon it answers."""

from __future__ import annotations

import os
import socket
import time

import msgspec

from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, usage_data
from tests.bench.system import BenchFailed, System
from tests.bench.throughput import Say

_MIB = 1 << 20
_GROWTH_MIB = 64
_ANSWER_SECONDS = 1
_PATIENCE_SECONDS = 120
# The first is what the target is about: it loads what later ones find loaded.
_UPLOADS = 3
_BOUNDARY = "of-the-bench"


def measure(system: System, _: Corpus, size_mib: int, say: Say) -> Outcome:
    """Of bytes that VALIDATE takes for no document: what comes after an upload is measured elsewhere."""
    with system.watch() as idle:
        pass
    before = idle.usage["api"].peak_bytes
    runs, usages = [], []
    for number in range(_UPLOADS):
        with system.watch() as watch:
            seconds, answered, key = _upload(system, number, size_mib)
        system.await_ended([key])
        usages.append(watch.usage)
        grown = (watch.usage["api"].peak_bytes - before) / _MIB
        runs.append({"mib_per_second": size_mib / seconds, "answer_seconds": answered, "grown_mib": grown})
        say(f"{size_mib / seconds:.0f} MiB/s, answered in {answered:.3f} s, grown by {grown:.0f} MiB")
    return Outcome(
        f"a form with {size_mib:,} MiB, {_UPLOADS} times",
        [
            Figure("the API grows by", round(max(run["grown_mib"] for run in runs), 1), "MiB", at_most=_GROWTH_MIB),
            Figure(
                "last byte to answer, slowest",
                round(max(run["answer_seconds"] for run in runs), 3),
                "s",
                at_most=_ANSWER_SECONDS,
            ),
            Figure("speed, slowest", round(min(run["mib_per_second"] for run in runs)), "MiB/s"),
            Figure("CPU of the API", round(max(usage["api"].cpu_seconds for usage in usages), 2), "s"),
        ],
        {"uploads": runs, "processes": [usage_data(usage) for usage in usages]},
    )


def _upload(system: System, number: int, size_mib: int) -> tuple[float, float, str]:
    """Seconds for all of it, seconds from the last byte to the answer, and the object's key."""
    name = f"streamed-{number}.bin"
    first = (f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n').encode()
    last = f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        "POST /v1/documents/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"X-API-Key: {system.settings.api_key.get_secret_value()}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(first) + size_mib * _MIB + len(last)}\r\n\r\n"
    ).encode()
    block = os.urandom(_MIB)
    with socket.create_connection(("127.0.0.1", system.servers.api_port), timeout=_PATIENCE_SECONDS) as client:
        began = time.monotonic()
        client.sendall(head + first)
        for _ in range(size_mib):
            client.sendall(block)
        client.sendall(last)
        sent = time.monotonic()
        answer = client.makefile("rb").read()
        ended = time.monotonic()
    status, _, body = answer.partition(b"\r\n\r\n")
    if not status.startswith(b"HTTP/1.1 201 "):
        raise BenchFailed(f"The API did not take the form: {answer[:500].decode(errors='replace')}")
    document_id = msgspec.json.decode(body)["document_id"]
    return ended - began, ended - sent, f"incoming/{document_id}/{name}"
