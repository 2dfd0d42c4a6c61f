"""Two long real PDFs: is everything else small beside the model?"""

from __future__ import annotations

from tests.bench.corpus import Corpus
from tests.bench.report import Outcome
from tests.bench.system import System
from tests.bench.throughput import Say, compare

_RATIO = 0.85
_WORKER_MB = 700


def measure(system: System, corpus: Corpus, say: Say) -> Outcome:
    documents = [path.read_bytes() for path in corpus.long_pdfs]
    (warm_up,) = corpus.one_pagers(1)
    return compare(
        system,
        "long PDFs",
        documents,
        warm_up=warm_up,
        at_least=_RATIO,
        worker_mb=_WORKER_MB,
        say=say,
    )
