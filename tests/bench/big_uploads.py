"""Files of 1 GiB by presigned multipart: not a byte of them passes through the API, and it should not notice."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench.corpus import Corpus
from tests.bench.report import Figure, Outcome, usage_data
from tests.bench.system import System
from tests.bench.throughput import Say

_MIB = 1 << 20
# A process that allocates nothing still moves by so much.
_GROWTH_MIB = 16
# Signing the URLs of 64 parts, and three calls.
_CPU_SECONDS = 0.25


def measure(system: System, _: Corpus, count: int, size_mib: int, say: Say) -> Outcome:
    """Of bytes that VALIDATE takes for no document: what comes after an upload is measured elsewhere."""
    path = system.directory / "big.bin"
    _fill(path, size_mib)
    with system.watch() as idle:
        # The first loads what later ones find loaded.
        system.client.upload(path, method="multipart", allow_duplicate=True)
    keys, seconds = [], []
    with system.watch() as watch:
        for number in range(count):
            began = time.monotonic()
            keys.append(system.client.upload(path, method="multipart", allow_duplicate=True).key)
            seconds.append(time.monotonic() - began)
            say(f"{number + 1} of {count}: {size_mib / seconds[-1]:.0f} MiB/s")
    path.unlink()
    say("waiting until their bytes were looked at")
    system.await_ended(keys)
    grown = (watch.usage["api"].peak_bytes - idle.usage["api"].peak_bytes) / _MIB
    return Outcome(
        f"{count} files of {size_mib:,} MiB by presigned multipart",
        [
            Figure("the API grows by", round(grown, 1), "MiB", at_most=_GROWTH_MIB),
            Figure(
                "CPU of the API", round(watch.usage["api"].cpu_seconds / count, 3), "s a file", at_most=_CPU_SECONDS
            ),
            Figure("speed, hashing included", round(size_mib * count / sum(seconds)), "MiB/s"),
        ],
        {"seconds": seconds, "processes": usage_data(watch.usage, count)},
    )


def _fill(path: Path, size_mib: int) -> None:
    block = os.urandom(_MIB)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(block)
