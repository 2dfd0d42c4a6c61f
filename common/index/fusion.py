"""Several lists of hits made one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from common.index.rows import Hit

# Relative score fusion (Bruch, Gai, Ingber: An analysis of fusion functions for hybrid retrieval, TOIS 2023): score =
# sum of weight * relative score, so that the best of both lists has 1. Reciprocal ranks forget by how much a hit is the
# best. Chosen on Debian's reference (tests/bench/retrieval.py), MRR@10 in English and Chinese: dense alone 0.717 and
# 0.727; ranks at their best 0.736 and 0.760, but what only words find, as a part's number, stands behind seventeen hits
# that mean something similar; these weights 0.743 and 0.764, and it mostly stands second.
_WEIGHTS = {"dense": 0.55, "keyword": 0.45}


def fuse(lists: Iterable[Sequence[Hit]]) -> list[Hit]:
    """All hits, best first, each once. Each list has hits of one kind, best first."""
    fused: dict[tuple[str, int, int], Hit] = {}
    for hits in lists:
        for hit, relative in zip(hits, _relative(hits), strict=True):
            known = fused.get(hit.key)
            score, found_by = (known.score, known.found_by) if known else (0.0, ())
            weight = max(_WEIGHTS[name] for name in hit.found_by)
            more = tuple(name for name in hit.found_by if name not in found_by)
            fused[hit.key] = replace(hit, score=score + weight * relative, found_by=found_by + more)
    # Equal scores in the order of the lists: the same question has the same answer.
    return sorted(fused.values(), key=lambda hit: -hit.score)


def _relative(hits: Sequence[Hit]) -> list[float]:
    """What each hit's score is of the best, from 0 to 1. Cosines have no zero that means anything: 0 is the last."""
    if not hits:
        return []
    best = hits[0].score
    least = hits[-1].score if "dense" in hits[0].found_by else 0.0
    return [(hit.score - least) / (best - least) if best > least else 1.0 for hit in hits]
