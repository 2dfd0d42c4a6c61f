"""The whole of `brigade up`, as a user starts it: real servers, real processes, the sample, two terminals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import environment
from tests.processes import descendants, running, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

BRIGADE = (sys.executable, "-m", "deploy.cli")
MODEL = Path(os.environ.get("BRIGADE_MODEL_DIR") or environment.directory() / "models" / "multilingual-e5-small")


class Up:
    def __init__(self, var: Path, *options: str) -> None:
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith("BRIGADE_")}
        self.variables |= {"BRIGADE_VAR_DIR": str(var), "BRIGADE_MODEL_DIR": str(MODEL)}
        self.process = subprocess.Popen(
            [*BRIGADE, "up", "--json", *options],
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if self.said[-1]["event"] == "ready":
                return
        raise AssertionError(f"it ended before it was up: {self.process.communicate()[1]}")

    def brigade(self, *arguments: str) -> list[Any]:
        """What a command of another terminal prints with --json."""
        done = subprocess.run([*BRIGADE, *arguments, "--json"], env=self.variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def end(self, number: int) -> tuple[int, str]:
        """Exit code and standard error; nothing that was started is left."""
        started = descendants(self.process.pid)
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        wait_until(lambda: not started & running().keys(), seconds=15, what="nothing is left")
        return self.process.returncode, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    """Starts the stack, each time in the same var/."""
    if not (MODEL / "manifest.json").exists():
        if os.environ.get("CI"):
            pytest.fail(f"There is no model in {MODEL}: run `make model`.")
        pytest.skip(f"there is no model in {MODEL}: run `make model`")
    started: list[Up] = []

    def start() -> Up:
        started.append(Up(tmp_path / "var"))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.end(signal.SIGINT)
    shutil.rmtree(tmp_path / "var", ignore_errors=True)


def test_a_sample_and_a_file_are_found_before_and_after_kill_9(start: Callable[[], Up], tmp_path: Path) -> None:
    first = start()
    first.wait_until_ready()
    assert not [said for said in first.said if said["event"] == "warned"]
    (tmp_path / "notes.md").write_text("# Notes\n\nThe spare ladder is kept behind the granary.\n")
    (outcome,) = first.brigade("upload", str(tmp_path / "notes.md"), "--wait")
    assert outcome["status"] == "COMPLETED"
    question = ("search", "Where is the spare ladder kept?")
    (before,) = first.brigade(*question)
    assert outcome["document_id"] in [hit["document_id"] for hit in before["hits"]]
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL

    second = start()
    second.wait_until_ready()
    assert any("from an earlier run" in said.get("text", "") for said in second.said)
    (after,) = second.brigade(*question)
    assert after["hits"] == before["hits"]
    assert second.end(signal.SIGINT)[0] == 0
