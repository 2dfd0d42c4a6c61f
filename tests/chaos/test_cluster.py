"""RabbitMQ as three nodes: each is killed under load, the one that leads the queues too, and comes back."""

from __future__ import annotations

import pytest

from tests.chaos.rounds import Series


@pytest.mark.timeout(400)
def test_a_cluster_that_loses_each_of_its_nodes_in_turn_loses_nothing(cluster_series: Series) -> None:
    played = cluster_series.play(1, ["lose-node", "lose-node", "lose-node"])
    print(played)
    assert not played.verdict.faults, str(played)
    assert played.puts > 10
