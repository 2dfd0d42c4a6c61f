"""Several lists of hits made one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from common.index.rows import Hit

# Reciprocal rank fusion: score = sum of 1 / (60 + rank); the constant of Cormack, Clarke and Büttcher (SIGIR 2009).
_RRF = 60


def fuse(lists: Iterable[list[Hit]]) -> list[Hit]:
    """All hits, best first, each once; those that more lists have, and higher, stand higher."""
    fused: dict[tuple[str, int, int], Hit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, start=1):
            known = fused.get(hit.key)
            score, found_by = (known.score, known.found_by) if known else (0.0, ())
            more = tuple(name for name in hit.found_by if name not in found_by)
            fused[hit.key] = replace(hit, score=score + 1 / (_RRF + rank), found_by=found_by + more)
    # Equal scores, as of the two firsts, in the order of the lists: the same question has the same answer.
    return sorted(fused.values(), key=lambda hit: -hit.score)
