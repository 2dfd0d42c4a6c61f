"""How many live streams there may be, and of whom."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.live_api import LiveApi, People, closed, update
from tests.processes import wait_until

pytestmark = pytest.mark.integration


def test_a_user_may_hold_so_many_streams_and_a_process_too(database_url: str) -> None:
    with LiveApi(database_url, max_streams_per_user=1, max_streams=2) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        with api.connect("t", f"?token={key}") as first:
            update(first)
            with api.connect("t", f"?token={key}") as second:
                assert closed(second) == 1013
            with api.events("t", key) as refused:
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            with api.connect("t"), pytest.raises(InvalidStatus) as caught:
                api.connect("t")
            assert caught.value.response.status_code == 429
        wait_until(lambda: not api.streams._streams, seconds=10, what="the place is free again")
        with api.connect("t", f"?token={key}") as again:
            update(again)


def test_sockets_that_say_nothing_leave_places_for_those_that_do(database_url: str) -> None:
    with LiveApi(database_url, max_streams=10) as api:
        people = People(api.services)
        key = people.user("ann")
        people.task("ann", "t")
        with api.connect("t"), api.connect("t") as another, api.connect("t", f"?token={key}") as named:
            assert closed(another) == 1013
            assert update(named)["task_id"] == "t"
