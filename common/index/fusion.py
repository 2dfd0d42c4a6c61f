"""Several lists of hits made one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from common.index.rows import Hit

# Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): score = sum of weight / (constant + rank). Their 60 is
# for lists of a thousand: with our twenty all of the ranks count nearly alike, and with the weights below what only
# words find, as a part's number, would stand behind everything that means something similar. With 2 its first stands
# third or fourth.
_RRF = 2
# Alone, BM25 finds less than the model, and with equal weights its first hits displace better ones. Chosen on Debian's
# reference (tests/bench/retrieval.py), MRR@10 in English and Chinese: dense 0.717, 0.727; equal weights 0.712, 0.755;
# these 0.727, 0.750. On the installation guide, which nothing was chosen by: dense 0.644, 0.674; these 0.646, 0.680.
_WEIGHTS = {"dense": 1.0, "keyword": 0.6}


def fuse(lists: Iterable[list[Hit]]) -> list[Hit]:
    """All hits, best first, each once; those that more lists have, and higher, stand higher."""
    fused: dict[tuple[str, int, int], Hit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, start=1):
            known = fused.get(hit.key)
            score, found_by = (known.score, known.found_by) if known else (0.0, ())
            weight = max(_WEIGHTS[name] for name in hit.found_by)
            more = tuple(name for name in hit.found_by if name not in found_by)
            fused[hit.key] = replace(hit, score=score + weight / (_RRF + rank), found_by=found_by + more)
    # Equal scores in the order of the lists: the same question has the same answer.
    return sorted(fused.values(), key=lambda hit: -hit.score)
