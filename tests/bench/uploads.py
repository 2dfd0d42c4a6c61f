"""`POST /uploads` against a bare endpoint that makes the same two inserts: requests per second, and waiting times."""

from __future__ import annotations

import statistics

import msgspec

from deploy.local.state import free_port
from tests.bench.corpus import Corpus
from tests.bench.http_load import Load, at_rate, closed, post_request
from tests.bench.report import Figure, Outcome, percentile, spread
from tests.bench.system import System
from tests.bench.throughput import Say

_RATIO = 0.7
_P99_MS = 100
_RATE = 100
_CONNECTIONS = 16
_SECONDS = 4.0
# Turn by turn, so that what the machine does beside it meets both alike.
_ROUNDS = 5


def measure(system: System, _: Corpus, say: Say) -> Outcome:
    key = system.settings.api_key.get_secret_value()
    body = msgspec.json.encode({"filename": "report 水.pdf", "size": 20_000, "content_type": "application/pdf"})
    ours, bare = post_request("/v1/uploads", body, key), post_request("/uploads", body, key)
    port, bare_port = system.servers.api_port, free_port()
    with system.beside("tests.bench.bare_api", bare_port):
        for request, where in ((ours, port), (bare, bare_port)):
            closed(where, request, connections=_CONNECTIONS, seconds=1)
        rounds = []
        for number in range(_ROUNDS):
            with system.watch() as watch:
                measured = _run(port, ours)
            rounds.append((measured, _run(bare_port, bare), watch.usage["api"].cpu_seconds / len(measured.latencies)))
            say(f"round {number + 1}: {rounds[-1][0].per_second:.0f} a second, bare {rounds[-1][1].per_second:.0f}")
        steady = at_rate(port, ours, connections=4 * _CONNECTIONS, per_second=_RATE, seconds=2 * _SECONDS)
    ratio = statistics.median(ours.per_second / bare.per_second for ours, bare, _ in rounds)
    return Outcome(
        "POST /uploads",
        [
            Figure("requests per second, ours ÷ bare", round(ratio, 3), at_least=_RATIO),
            Figure("requests per second", round(statistics.median(one.per_second for one, _, _ in rounds))),
            Figure("CPU of the API", round(1000 * statistics.median(cpu for *_, cpu in rounds), 2), "ms a request"),
            Figure(f"p99 at {_RATE} a second", round(percentile(steady.latencies, 99), 1), "ms", at_most=_P99_MS),
            Figure(f"p50 at {_RATE} a second", round(statistics.median(steady.latencies), 1), "ms"),
        ],
        {
            "per_second": [(round(ours.per_second), round(bare.per_second)) for ours, bare, _ in rounds],
            "steady_ms": {name: value for name, value in spread(steady.latencies).items() if name != "values"},
        },
    )


def _run(port: int, request: bytes) -> Load:
    return closed(port, request, connections=_CONNECTIONS, seconds=_SECONDS)
