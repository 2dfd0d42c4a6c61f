"""`brigade up` with stand-ins for our processes and servers that the environment names: starts, words and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import environment
from tests.processes import descendants, running, wait_until

# Stands in for `brigade`: `api` answers /readyz, the others wait; what the variable FAIL names cannot start.
BRIGADE = """
import http.server, os, sys, time
name = sys.argv[1]
if name == os.environ.get("FAIL"):
    sys.exit("there is no such database")
if name == "api":
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ready", "checks": {}}')
    http.server.HTTPServer(("127.0.0.1", int(os.environ["BRIGADE_API_PORT"])), Handler).serve_forever()
elif name != "migrate":
    time.sleep(600)
"""

UP = "import sys; from deploy.local.stack import up; sys.exit(up(demo=False, json=True, brigade=sys.argv[1:]))"

GIVEN = {
    "BRIGADE_DATABASE_URL": "postgresql://given",
    "BRIGADE_AMQP_URL": "amqp://given",
    "BRIGADE_MILVUS_URI": "http://given",
    "BRIGADE_S3_ENDPOINT": "http://given",
    "BRIGADE_S3_ACCESS_KEY": "given",
    "BRIGADE_S3_SECRET_KEY": "given",
}

Start = Callable[..., "Up"]


class Up:
    def __init__(self, var: Path, **variables: str) -> None:
        script = var.parent / "brigade.py"
        script.write_text(BRIGADE)
        self.file = environment.file_in(var)
        self.process = subprocess.Popen(
            [sys.executable, "-c", UP, sys.executable, str(script)],
            env={**os.environ, **GIVEN, "BRIGADE_VAR_DIR": str(var), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started: set[int] = set()

    def ready(self) -> dict[str, str]:
        """What it says when it is up."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if (said := json.loads(line))["event"] == "ready":
                self.started = descendants(self.process.pid)
                return dict(said)
        raise AssertionError(f"it ended before it was up: {self.process.communicate()[1]}")

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """Exit code, standard output, standard error. Nothing that it started may be left."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        wait_until(lambda: not self.started & running().keys(), seconds=10, what="nothing is left")
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    var = tmp_path / "var"
    (var / "models" / "multilingual-e5-small").mkdir(parents=True)
    (var / "models" / "multilingual-e5-small" / "manifest.json").touch()
    all_started: list[Up] = []

    def start(**variables: str) -> Up:
        all_started.append(Up(var, **variables))
        return all_started[-1]

    yield start
    for up in all_started:
        if up.process.poll() is None:
            up.process.kill()
            up.process.communicate()


def test_it_comes_up_tells_where_and_ends_all_on_ctrl_c(start: Start) -> None:
    up = start()
    url = up.ready()["url"]
    told = environment.read(up.file)
    assert told["BRIGADE_URL"] == url
    assert told.items() >= GIVEN.items()
    assert "BRIGADE_S3_SIGNING_ACCESS_KEY" not in told, "nobody made one at the given store"
    assert len(told["BRIGADE_API_KEY"]) >= 32
    assert up.file.stat().st_mode & 0o777 == 0o600
    code, out, err = up.end(signal.SIGINT)
    assert (code, err) == (0, "")
    assert "SIGINT: ending everything" in out


def test_the_second_start_keeps_address_and_key(start: Start) -> None:
    tellings = []
    for _ in range(2):
        up = start()
        up.ready()
        tellings.append(environment.read(up.file))
        assert up.end(signal.SIGTERM)[0] == 0
    assert tellings[0] == tellings[1]


def test_kill_9_leaves_nothing_and_the_next_start_finds_the_same(start: Start) -> None:
    up = start()
    before = up.ready()
    up.end(signal.SIGKILL)
    assert start().ready() == before


def test_a_part_that_cannot_start_is_an_error_with_its_log_and_ends_the_rest(start: Start) -> None:
    up = start(FAIL="api")
    wait_until(lambda: up.process.poll() is not None, seconds=30, what="it ends")
    code, out, err = up.end()
    assert code == 1
    assert "Error: api ended with exit code 1" in err
    assert "there is no such database" in err
    assert '"ready"' not in out
    assert not up.file.exists()


def test_a_migration_that_fails_is_an_error_with_its_log(start: Start) -> None:
    code, _, err = start(FAIL="migrate").end()
    assert code == 1
    assert "Error: migrate ended with exit code 1" in err


def test_a_port_that_is_taken_is_an_error_before_anything_starts(start: Start) -> None:
    up = start()
    port = up.ready()["url"].rsplit(":", 1)[1]
    code, out, err = start(BRIGADE_API_PORT=port).end()
    assert (code, out) == (1, "")
    assert f"BRIGADE_API_PORT={port}: this port is taken" in err


def test_a_second_one_in_the_same_place_is_refused_and_the_first_goes_on(start: Start) -> None:
    first = start()
    first.ready()
    code, _, err = start().end()
    assert code == 1
    assert "already running" in err
    assert first.process.poll() is None
    assert first.end(signal.SIGINT)[0] == 0


def test_a_process_that_dies_is_started_again(start: Start) -> None:
    up = start()
    up.ready()
    worker = next(pid for pid in up.started if _command(pid).endswith("brigade.py worker"))
    os.kill(worker, signal.SIGKILL)
    assert up.process.stdout is not None
    assert "worker was ended by SIGKILL" in up.process.stdout.readline()
    wait_until(lambda: len(descendants(up.process.pid)) == len(up.started), seconds=10, what="there is another")
    assert up.end(signal.SIGTERM)[0] == 0


def test_an_end_that_is_asked_for_during_the_start_is_orderly(start: Start) -> None:
    up = start(FAIL="nothing")
    wait_until(lambda: len(descendants(up.process.pid)) > 1, seconds=20, what="something has started")
    code, _, err = up.end(signal.SIGTERM)
    assert code == 0, err


def test_ctrl_c_twice_ends_at_once(start: Start) -> None:
    up = start()
    up.ready()
    began = time.monotonic()
    up.process.send_signal(signal.SIGINT)
    up.end(signal.SIGINT)
    assert time.monotonic() - began < 10


def _command(pid: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True
    ).stdout.strip()
