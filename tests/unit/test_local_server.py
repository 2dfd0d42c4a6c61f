"""A private server that does not come up says so, with what its log says; one that does not end is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer

import pytest

from deploy.local import server as server_module
from deploy.local.guardian import Guardian
from deploy.local.server import NotReadyError, Server, ServerError
from tests.processes import descendants, running, wait_until


class Shell(Server):
    """A "server" that is a line of shell; it answers when it has made a file."""

    name = "Shell"
    line = "touch up; exec sleep 100"

    def prepare(self) -> None:
        (self.directory / "up").unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        return ["sh", "-c", self.line]

    def check(self) -> None:
        if not (self.directory / "up").exists():
            raise NotReadyError("no file yet")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    guardian = Guardian()
    yield Shell(tmp_path / "shell", 1, guardian)
    guardian.close()


def test_a_server_starts_stops_and_starts_again(shell: Shell) -> None:
    shell.start()
    first = shell.pid
    assert first in running()
    shell.stop()
    assert shell.pid is None
    assert first not in running()
    shell.start()
    assert shell.pid not in (None, first)
    shell.kill()
    assert shell.pid is None


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(shell: Shell) -> None:
    shell.line = "echo address already in use; exit 3"
    with pytest.raises(ServerError) as caught:
        shell.start()
    assert caught.value.log_tail == "address already in use\n"
    assert caught.value.message.splitlines() == [
        "Shell ended with code 3 instead of coming up. Its log ends:",
        "    address already in use",
        f"The whole log: {shell.log}",
    ]


def test_a_server_that_never_answers_is_an_error_that_says_why(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_START_SECONDS", 0.2)
    shell.line = "exec sleep 100"
    with pytest.raises(ServerError, match=r"did not answer within 0 s \(no file yet\)"):
        shell.start()
    shell.stop()


def test_nobody_waits_for_a_server_that_was_given_up(shell: Shell) -> None:
    shell.line = "exec sleep 100"
    Timer(0.1, shell.give_up).start()
    with pytest.raises(ServerError, match="was not waited for"):
        shell.start()
    shell.stop()


def test_a_server_that_ignores_the_request_to_stop_is_killed_with_its_children(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_STOP_SECONDS", 0.2)
    shell.line = "trap '' TERM; touch up; sleep 100 & wait; wait"
    shell.start()
    assert shell.pid is not None
    wait_until(lambda: len(descendants(shell.pid or 0)) == 2, seconds=5, what="the child")
    family = descendants(shell.pid)
    shell.stop()
    wait_until(lambda: not family & running().keys(), seconds=5, what="the end of the family")


def test_a_preparation_that_fails_is_an_error_with_its_output(shell: Shell) -> None:
    shell.directory.mkdir()
    with pytest.raises(ServerError, match=r"could not be set up \(sh ended with 1\)(.|\n)*disk full"):
        shell.run(["sh", "-c", "echo disk full; exit 1"])


def test_the_log_of_the_last_run_is_kept_and_no_more(shell: Shell) -> None:
    for words in ("one", "two", "three"):
        shell.line = f"echo {words}; touch up; exec sleep 100"
        shell.start()
        shell.stop()
    assert (shell.log.read_text(), shell.log.with_suffix(".log.old").read_text()) == ("three\n", "two\n")


def test_servers_see_nothing_of_the_users_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("RABBITMQ_NODENAME", "other")
    shell.line = "env; touch up; exec sleep 100"
    shell.start()
    shell.stop()
    assert "PGPORT" not in shell.log.read_text()
    assert "RABBITMQ_NODENAME" not in shell.log.read_text()


def test_signals_reach_the_group_and_not_us(shell: Shell) -> None:
    before = signal.getsignal(signal.SIGTERM)
    shell.start()
    shell.stop()
    assert signal.getsignal(signal.SIGTERM) is before
