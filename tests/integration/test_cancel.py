"""Cancelling ends work within 5 s, wherever it is, and nothing that is still going on overwrites it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from uuid import uuid4

import pytest

from common import task_requests
from common.context import Context
from common.jail import Jail, Limits
from common.objects import ObjectStore
from common.records import Pin
from tests.integration.rig import Rig, Word
from tests.integration.system import System, wait_for

# The promise.
_SECONDS = 5
# What never ends by itself would hang the tests if the promise were broken.
_PATIENCE_SECONDS = 30

Work = Callable[[Context], None]


@pytest.fixture
def beating(rig: Rig) -> Iterator[Rig]:
    """The rig with a worker's heartbeat."""
    stop = threading.Event()
    thread = threading.Thread(target=rig.leases.keep_alive, args=(stop,))
    thread.start()
    yield rig
    rig.leases.stop_all()
    stop.set()
    thread.join()


def cancelled_after(rig: Rig, step: str) -> float:
    """Seconds from the cancellation of a task that is in this step to the end of all of its work."""
    entered = threading.Event()
    before = rig.before.get(step)

    def enter(ctx: Context) -> None:
        entered.set()
        if before:
            before(ctx)

    rig.before[step] = enter
    task_id = rig.arrive()
    worker = threading.Thread(target=rig.run, daemon=True)
    worker.start()
    assert entered.wait(_PATIENCE_SECONDS)
    cancel(rig, task_id)
    since = time.monotonic()
    worker.join(_PATIENCE_SECONDS)
    took = time.monotonic() - since
    assert not worker.is_alive()
    assert rig.task(task_id)["status"] == "CANCELLED"
    assert set(rig.steps(task_id)) == {"COMPLETED", "CANCELLED"}
    assert not rig.broker.unacked
    return took


def cancel(rig: Rig, task_id: str) -> None:
    with rig.database.transaction() as connection:
        task_requests.cancel(connection, task_id)


def in_child_process(path: Path, ctx: Context) -> None:
    path.write_text("a document")
    limits = Limits(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, output_bytes=1 << 20)
    jail = Jail()
    try:
        jail.run(
            "tests.unit.jail_targets:loops",
            input=path,
            output=path.with_suffix(".out"),
            options={},
            limits=limits,
            check=ctx.check_cancelled,
        )
    finally:
        jail.close()


def test_a_child_process_that_never_ends_is_killed(beating: Rig, tmp_path: Path) -> None:
    beating.before["EXTRACT_TEXT"] = partial(in_child_process, tmp_path / "document")
    assert cancelled_after(beating, "EXTRACT_TEXT") < _SECONDS


def endless(ctx: Context) -> Iterator[Word]:
    """As a step that streams, and never looks whether anybody wants it."""
    while True:
        yield Word("again")


def test_a_step_that_makes_records_without_end_is_stopped_between_two(beating: Rig) -> None:
    extract = beating.pipeline.steps[1].function
    assert extract is not None

    def makes(ctx: Context) -> Iterator[Word]:
        yield from extract(ctx)
        yield from endless(ctx)

    replace_step(beating, 1, makes)
    assert cancelled_after(beating, "EXTRACT_TEXT") < _SECONDS


def test_a_step_that_only_reads_is_stopped_between_two_records(beating: Rig) -> None:
    once = beating.store.lines

    def lines(key: str, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        while True:
            yield from once(key, span)

    beating.store.lines = lines  # type: ignore[method-assign]

    def reads(ctx: Context, words: Iterable[Word]) -> None:
        beating._called("SPLIT", ctx)
        for _ in words:
            pass

    replace_step(beating, 2, reads)
    assert cancelled_after(beating, "SPLIT") < _SECONDS


def test_what_is_on_its_way_to_the_store_is_stopped_between_two_reads(beating: Rig) -> None:
    def put_stream(key: str, stream: IO[bytes], size: int) -> None:
        while True:
            stream.read(1)

    beating.store.put_stream = put_stream  # type: ignore[method-assign]
    assert cancelled_after(beating, "EXTRACT_TEXT") < _SECONDS


def test_between_batches_no_other_begins(beating: Rig) -> None:
    def until_cancelled(ctx: Context) -> None:
        while True:
            ctx.check_cancelled()

    beating.before["VECTORIZE"] = until_cancelled
    assert cancelled_after(beating, "VECTORIZE") < _SECONDS
    assert beating.names().count("VECTORIZE") == 1


def test_a_download_is_stopped_between_two_reads(beating: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(beating.services.settings)
    network = threading.Event()

    def arriving(_: int) -> Iterator[bytes]:
        while True:
            network.wait(0.001)  # as a network does, it lets other threads go on meanwhile
            yield b"x"

    body = SimpleNamespace(stream=arriving)
    monkeypatch.setattr(store, "_open", lambda *_: nullcontext(body))
    pin = Pin("b", "k", "e", 1)
    beating.before["EXTRACT_TEXT"] = lambda ctx: store.download(pin, Path("/dev/null"), ctx.check_cancelled)
    assert cancelled_after(beating, "EXTRACT_TEXT") < _SECONDS


def replace_step(rig: Rig, number: int, function: Callable[..., Any]) -> None:
    """The worker's table has another function for this step from now on."""
    changed = list(rig.pipeline.steps)
    changed[number] = replace(changed[number], function=function)
    rig.pipeline = replace(rig.pipeline, steps=tuple(changed))
    rig.runtime = rig.worker("me")


# On the real system: documents that are really long, a real worker.


def long_pdf(pages: int = 20_000) -> bytes:
    """A PDF that takes the worker many seconds; all its pages share one content."""
    words = b"BT /F 9 Tf 50 800 Td 11 TL " + b"(A bucket brigade hands water along to the fire.) Tj T* " * 60 + b"ET"
    kids = b" ".join(b"%d 0 R" % number for number in range(4, pages + 4))
    font = b"<</F <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>"
    page = b"<</Type /Page /Parent 2 0 R /Contents 3 0 R /Resources <</Font %s>>>>" % font
    objects = [
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Count %d /MediaBox [0 0 595 842] /Kids [%s]>>" % (pages, kids),
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(words), words),
        *[page] * pages,
    ]
    # Without a table of where they stand: readers find the objects by themselves.
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer <</Root 1 0 R>>\n%%EOF\n"


def long_text() -> bytes:
    line = "Sentence {} tells of the well, of the fire and of {} people who hand the buckets on between them. "
    return "".join(line.format(number, number + 2) for number in range(8_000)).encode()


@pytest.fixture(scope="module")
def log(system: System) -> Iterator[Path]:
    """A worker's."""
    with system.worker() as log:
        yield log


@pytest.mark.parametrize(
    ("name", "make", "step", "batch"),
    [("long.pdf", long_pdf, "EXTRACT_TEXT", 0), ("long.txt", long_text, "VECTORIZE", 1)],
)
def test_a_long_document_is_let_go_of_in_the_middle(
    system: System, log: Path, name: str, make: Callable[[], bytes], step: str, batch: int
) -> None:
    key = f"incoming/{uuid4()}-cancel/{name}"
    runs = "SELECT 1 FROM task_details WHERE task_id = :id AND step_name = :step AND batch >= :batch AND owner > ''"

    def let_go() -> bool:
        return any("lease_lost" in line and task_id in line for line in log.read_text().splitlines())

    system.put(key, make())
    task_id = system.task_of(key)
    wait_for(lambda: system.sql(runs, id=task_id, step=step, batch=batch), f"{step} runs")
    answer = system.http.post(f"/v1/tasks/{task_id}/cancel")
    since = time.monotonic()
    assert (answer.status_code, answer.json()) == (202, {"task_id": task_id, "status": "CANCELLED"})
    wait_for(let_go, "the worker lets go", _PATIENCE_SECONDS)
    assert time.monotonic() - since < _SECONDS
    # Whatever was under way has come to its end when something later has.
    other = f"incoming/{uuid4()}-cancel/short.txt"
    system.put(other, b"A short text about water.")
    assert system.ended(system.task_of(other)).status == "COMPLETED"
    task = system.client.task(task_id)
    assert task.status == "CANCELLED"
    assert {one.status for one in task.task_details} == {"COMPLETED", "CANCELLED"}
    assert system.rows_of(str(task.document_id)) == []
