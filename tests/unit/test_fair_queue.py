"""Who is next in a worker: each lane has its turn."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fair_queue import Closed, FairQueue


def taken(queue: FairQueue[str], count: int) -> list[str]:
    """What comes next, each done before the next is taken."""
    items = []
    for _ in range(count):
        lane, item = queue.get()
        items.append(item)
        queue.done(lane)
    return items


def test_of_one_lane_the_lowest_rank_goes_first_and_then_the_first_to_come() -> None:
    queue: FairQueue[str] = FairQueue(2)
    for rank, item in ((5, "validate 1"), (1, "store 1"), (5, "validate 2"), (1, "store 2")):
        queue.put("a", rank, item)
    assert taken(queue, 4) == ["store 1", "store 2", "validate 1", "validate 2"]


def test_lanes_take_turns_however_much_waits_in_one() -> None:
    queue: FairQueue[str] = FairQueue(2)
    for number in range(100):
        queue.put("flood", 0, f"flood {number}")
    queue.put("single", 9, "single")
    assert "single" in taken(queue, 2)


def test_who_has_least_at_work_is_next() -> None:
    queue: FairQueue[str] = FairQueue(4)
    for number in range(4):
        queue.put("a", 0, f"a {number}")
        queue.put("b", 0, f"b {number}")
    got = [queue.get() for _ in range(3)]
    assert sorted(lane for lane, _ in got) in (["a", "a", "b"], ["a", "b", "b"])
    fewer = min("ab", key=[lane for lane, _ in got].count)
    assert queue.get()[0] == fewer


def test_one_thread_is_kept_for_who_comes_next() -> None:
    queue: FairQueue[str] = FairQueue(3)
    for number in range(5):
        queue.put("flood", 0, f"flood {number}")
    assert [queue.get()[0] for _ in range(2)] == ["flood", "flood"]
    got: list[str] = []
    third = threading.Thread(target=lambda: got.append(queue.get()[1]))
    third.start()
    third.join(0.05)
    assert third.is_alive()
    queue.put("single", 9, "single")
    third.join(5)
    assert got == ["single"]


def test_a_worker_with_one_thread_works() -> None:
    queue: FairQueue[str] = FairQueue(1)
    queue.put("a", 0, "one")
    queue.put("a", 0, "two")
    assert taken(queue, 2) == ["one", "two"]


def test_closing_lets_go_of_who_waits() -> None:
    queue: FairQueue[str] = FairQueue(2)
    ends: list[type[Exception]] = []

    def wait() -> None:
        try:
            queue.get()
        except Closed as closed:
            ends.append(type(closed))

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    queue.close()
    for thread in waiting:
        thread.join(5)
    assert ends == [Closed, Closed]
    with pytest.raises(Closed):
        queue.get()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40), st.integers(1, 4))
def test_all_that_was_put_comes_out_once_and_nothing_is_remembered_of_it(
    puts: list[tuple[str, int]], threads: int
) -> None:
    queue: FairQueue[int] = FairQueue(threads)
    for number, (lane, rank) in enumerate(puts):
        queue.put(lane, rank, number)
    came = []
    for _ in puts:
        lane, item = queue.get()
        came.append(item)
        queue.done(lane)
    assert sorted(came) == list(range(len(puts)))
    assert not queue._waiting
    assert not queue._at_work
    assert not queue._turns
