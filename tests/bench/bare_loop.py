"""What the chain is measured against: extract, preprocess, split, embed and one upsert in one process, nothing else.

`BareLoop` is the caller's side; the module run as a program is the loop itself, a child that loads everything and
then takes orders, one line of JSON each: paths of PDFs in, seconds and counts out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.context import Context, Target
from common.errors import BrigadeError
from common.index import Index, Row
from common.index.locks import Locks
from common.records import Chunk, EmbeddedChunk, Page
from common.services import Services
from common.settings import Settings
from deploy.local.guardian import signal_group
from deploy.local.milvus import Milvus
from deploy.local.state import free_port
from deploy.local.supervisor import how, tail
from functions.extractors import PDF, Options
from functions.ingest import extract
from functions.ingest.preprocess import preprocess
from functions.ingest.split import split
from tests.bench.processes import Usage, Watch
from tests.bench.system import System


class Order(msgspec.Struct, frozen=True):
    paths: list[str]


class Loop(msgspec.Struct, frozen=True):
    """What one loop did, and what it took. `steps`: seconds by step."""

    documents: int
    pages: int
    chunks: int
    seconds: float
    steps: dict[str, float]


class BareLoop:
    """The child with a Milvus Lite of its own, beside `system` and ended with it."""

    def __init__(self, system: System) -> None:
        self._log = system.directory / "bare.log"
        self._guardian = system.servers.guardian
        self._milvus = Milvus(system.directory / "bare-milvus", free_port(), self._guardian)
        self._model_dir = system.settings.model_dir

    def __enter__(self) -> Self:
        self._milvus.start()
        # A pipe for orders and one for answers: whatever libraries print goes to the log.
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.bare_loop", str(orders), str(answers)],
                pass_fds=[orders, answers],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("BRIGADE_")}
                | {
                    "BRIGADE_MILVUS_URI": self._milvus.uri,
                    "BRIGADE_MODEL_DIR": str(self._model_dir),
                    "BRIGADE_COLLECTION": "bare",
                    "NO_PROXY": "127.0.0.1,localhost",
                },
            )
        self._guardian.adopt(self._process.pid)
        os.close(orders)
        os.close(answers)
        self._lines = os.fdopen(self._answers, "rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._orders)
        self._lines.close()
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guardian.release(self._process.pid)
        self._milvus.stop()

    def run(self, documents: Sequence[bytes]) -> tuple[Loop, dict[str, Usage]]:
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory, f"{number}.pdf") for number in range(len(documents))]
            for path, data in zip(paths, documents, strict=True):
                path.write_bytes(data)
            assert self._milvus.pid is not None
            with Watch({"bare": self._process.pid, "milvus": self._milvus.pid}) as watch:
                os.write(self._orders, msgspec.json.encode(Order(list(map(str, paths)))) + b"\n")
                line = self._lines.readline()
        if not line:
            raise BrigadeError(f"The bare loop {how(self._process.wait())}. The end of its log:\n{tail(self._log)}")
        return msgspec.json.decode(line, type=Loop), watch.usage


class _NoLocks(Locks):
    """Nobody else writes to its Milvus Lite, so it needs no lock, and so no Postgres."""

    @contextmanager
    def writing(self, collection: str) -> Iterator[None]:
        yield

    flushing = searching = writing

    @contextmanager
    def naming(self) -> Iterator[None]:
        yield

    listing = naming


class _Worker:
    """The loop itself, with everything loaded."""

    def __init__(self, settings: Settings) -> None:
        # Parsers belong into the jail; only here they run in the process itself.
        from functions.extractors.jailed import EXTRACTORS

        self._extract = EXTRACTORS[PDF.media_type]
        self._services = Services(settings)
        self._index = Index(settings, locks=_NoLocks(settings))
        self._index.ensure()
        self._services.embedder.embed_query("warm up")

    def loop(self, paths: Sequence[Path]) -> Loop:
        """Each step for all documents before the next step: no batch is smaller, and no core idler, than need be."""
        times = [time.monotonic()]
        pages = [list(self._pages(path)) for path in paths]
        times.append(time.monotonic())
        chunks = [list(self._chunks(one)) for one in pages]
        times.append(time.monotonic())
        vectors = self._services.embedder.embed_passages([chunk.passage for one in chunks for chunk in one])
        times.append(time.monotonic())
        self._index.upsert(_rows(chunks, vectors))
        times.append(time.monotonic())
        took = [after - before for before, after in pairwise(times)]
        return Loop(
            documents=len(paths),
            pages=sum(map(len, pages)),
            chunks=len(vectors),
            seconds=times[-1] - times[0],
            steps=dict(zip(("extract", "split", "embed", "upsert"), took, strict=True)),
        )

    def _pages(self, path: Path) -> Iterator[Page]:
        limits = extract.budgets(self._services.settings)
        return self._extract(path, Options(name=path.name, **limits))

    def _chunks(self, pages: Sequence[Page]) -> Iterator[Chunk]:
        target = Target("bare", "bare", 1, "bare", "bare", "", "", "")
        context = Context(target, self._services)
        return split(context, preprocess(context, pages))


def _rows(documents: Sequence[Sequence[Chunk]], vectors: NDArray[np.float32]) -> Iterator[Row]:
    remaining = iter(vectors)  # each zip takes as many as its document has chunks
    for chunks in documents:
        document_id = uuid.uuid4().hex
        for chunk, vector in zip(chunks, remaining, strict=False):
            yield Row(document_id, 1, "bare", EmbeddedChunk(chunk, vector.astype("<f4").tobytes()))


def main(orders: int, answers: int) -> None:
    worker = _Worker(Settings())
    with os.fdopen(orders, "rb") as lines, os.fdopen(answers, "wb", buffering=0) as out:
        for line in lines:
            order = msgspec.json.decode(line, type=Order)
            out.write(msgspec.json.encode(worker.loop(list(map(Path, order.paths)))) + b"\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
