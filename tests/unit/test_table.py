"""The table, and what it must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from common.context import Context
from common.errors import ConfigurationError, InvalidMessage
from common.events import ObjectCreated, ObjectRemoved
from common.pipelines import Pipeline, Step
from common.records import Chunk, EmbeddedChunk, Page, Source
from router import message, signatures, topology
from router.table import DOCUMENT_DELETE, DOCUMENT_UPLOAD, PIPELINES, route


def test_the_steps_of_an_upload_and_their_weights_are_those_of_the_contract() -> None:
    assert {step.name: step.weight for step in DOCUMENT_UPLOAD.steps} == {
        "UPLOAD": 10,
        "VALIDATE": 5,
        "EXTRACT_TEXT": 30,
        "PREPROCESS": 10,
        "SPLIT": 5,
        "VECTORIZE": 30,
        "STORE": 10,
    }


def test_every_function_fits_its_neighbours() -> None:
    signatures.check(PIPELINES)


def test_events_under_incoming_are_routed_and_others_are_nobodys() -> None:
    created = ObjectCreated("b", "incoming/a", "1", etag="e", size=1)
    assert route(created) is DOCUMENT_UPLOAD
    assert route(ObjectRemoved("b", "incoming/a", "1")) is DOCUMENT_DELETE
    assert route(ObjectCreated("b", "artifacts/incoming/a", "1", etag="e", size=1)) is None


def makes_pages(ctx: Context, source: Source) -> Iterator[Page]: ...  # type: ignore[empty-body]
def makes_source(ctx: Context) -> Source: ...  # type: ignore[empty-body]
def looks(ctx: Context, pages: Iterable[Page]) -> None: ...
def takes_chunks(ctx: Context, chunks: Iterable[Chunk]) -> Iterator[EmbeddedChunk]: ...  # type: ignore[empty-body]
def not_annotated(ctx, pages): ...  # type: ignore[no-untyped-def]


def pipeline(*functions: Callable[..., Any]) -> dict[str, Pipeline]:
    return {"P": Pipeline("P", tuple(Step(f.__name__.upper(), f) for f in functions))}


def test_a_function_that_makes_nothing_hands_on_what_it_was_given() -> None:
    signatures.check(pipeline(makes_source, makes_pages, looks))


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ((makes_source, takes_chunks), "TAKES_CHUNKS takes a stream of Chunk, but MAKES_SOURCE makes Source"),
        ((makes_pages,), "the beginning makes nothing"),
        ((makes_source, makes_source), "names a step twice"),
        ((not_annotated,), "must be annotated"),
    ],
)
def test_functions_that_do_not_fit_are_refused_at_start_up(
    functions: tuple[Callable[..., Any], ...], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        signatures.check(pipeline(*functions))


def test_every_work_queue_has_all_its_arguments_set() -> None:
    for queue in topology.queues():
        if queue.name == topology.DEAD:
            continue
        assert queue.arguments.keys() >= {
            "x-queue-type",
            "x-delivery-limit",
            "x-dead-letter-exchange",
            "x-dead-letter-strategy",
            "x-overflow",
        }


def test_every_step_with_a_function_has_a_queue() -> None:
    names = topology.queue_names()
    assert {topology.step_queue(step.name) for p in PIPELINES.values() for step in p.steps if step.function} <= set(
        names
    )
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("seconds", "delay"), [(0, 1), (0.4, 1), (9, 1), (10, 10), (59, 10), (60, 60), (9999, 600)])
def test_a_wait_takes_the_longest_rung_that_is_not_too_long(seconds: float, delay: int) -> None:
    assert topology.rung_for(seconds) == delay


def test_a_message_survives_the_wire() -> None:
    sent = message.Message("DOCUMENT_UPLOAD", "SPLIT", "t", 5, batch=3)
    assert message.decode(message.encode(sent)) == sent
    with pytest.raises(InvalidMessage):
        message.decode(b'{"pipeline": 1}')


def test_a_step_name_that_means_two_functions_is_refused() -> None:
    one = {"A": Pipeline("A", (Step("S", makes_source),)), "B": Pipeline("B", (Step("S", makes_source_too),))}
    with pytest.raises(ConfigurationError, match="The step S is two different functions"):
        signatures.check(one)


def makes_source_too(ctx: Context) -> Source: ...  # type: ignore[empty-body]
