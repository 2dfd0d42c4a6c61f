"""Ports and secrets that outlive a run, and the one run that a directory allows."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest

from common.errors import ConfigurationError
from deploy.local import state as state_module
from deploy.local.state import State, free_port, is_free, lock_for_guardian, lock_for_us


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_ports_and_secrets_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    state = State(tmp_path, {})
    first = (state.port("postgres"), state.port("store"), state.secret("postgres"), state.secret("store"))
    state.save()
    again = State(tmp_path, {})
    assert (again.port("postgres"), again.port("store"), again.secret("postgres"), again.secret("store")) == first
    assert len(set(first)) == 4


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    State(tmp_path, {}).save()
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_forced_port_is_used_and_not_remembered(tmp_path: Path) -> None:
    remembered = State(tmp_path, {})
    usual = remembered.port("store")
    remembered.save()
    wanted = free_port()
    forced = State(tmp_path, {"BRIGADE_S3_PORT": str(wanted)})
    assert forced.port("store", "BRIGADE_S3_PORT") == wanted
    forced.save()
    assert State(tmp_path, {}).port("store", "BRIGADE_S3_PORT") == usual


def test_a_forced_port_that_is_taken_is_an_error_that_names_it(tmp_path: Path, taken_port: int) -> None:
    state = State(tmp_path, {"BRIGADE_S3_PORT": str(taken_port)})
    with pytest.raises(ConfigurationError, match=f"BRIGADE_S3_PORT={taken_port}: this port is taken"):
        state.port("store", "BRIGADE_S3_PORT")


def test_two_servers_cannot_be_forced_to_one_port(tmp_path: Path) -> None:
    port = str(free_port())
    state = State(tmp_path, {"BRIGADE_S3_PORT": port, "BRIGADE_AMQP_PORT": port})
    state.port("store", "BRIGADE_S3_PORT")
    with pytest.raises(ConfigurationError, match="BRIGADE_AMQP_PORT"):
        state.port("rabbitmq", "BRIGADE_AMQP_PORT")


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1"])
def test_a_forced_port_must_be_one(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match="a port is a number"):
        State(tmp_path, {"BRIGADE_S3_PORT": value}).port("store", "BRIGADE_S3_PORT")


def test_a_remembered_port_that_is_taken_gives_way_to_another(tmp_path: Path, taken_port: int) -> None:
    (tmp_path / "state.json").write_text(f'{{"ports": {{"store": {taken_port}}}}}')
    assert State(tmp_path, {}).port("store") != taken_port


def test_free_ports_are_none_that_outgoing_connections_get() -> None:
    assert 20000 <= free_port() < 32768


def test_a_port_is_taken_also_by_who_listens_on_every_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_second_run_in_the_same_directory_is_told_of_the_first(tmp_path: Path) -> None:
    with lock_for_us(tmp_path), pytest.raises(ConfigurationError, match=rf"already running \(process {os.getpid()}\)"):
        lock_for_us(tmp_path)
    lock_for_us(tmp_path).close()


def test_a_run_whose_predecessor_was_killed_waits_for_its_guardian(tmp_path: Path) -> None:
    with lock_for_guardian(tmp_path) as held:
        guardian = subprocess.Popen(["sleep", "100"], pass_fds=[held.fileno()])
    ended = Event()

    def end() -> None:
        ended.set()
        guardian.kill()

    Timer(0.2, end).start()
    lock_for_guardian(tmp_path).close()
    assert ended.is_set()
    guardian.wait(5)


def test_a_guardian_that_never_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "_TAKEOVER_SECONDS", 0.1)
    with lock_for_guardian(tmp_path), pytest.raises(ConfigurationError, match="does not end"):
        lock_for_guardian(tmp_path)
