"""What the jail's child tries, and does not get. Everything here is tried against this machine's kernel."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import confinement, system_calls
from common.jail import Jail, Limits
from tests.unit.escapes import ATTEMPTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have none of it")

LIMITS = Limits(wall_seconds=30, cpu_seconds=20, memory_bytes=64 << 20, output_bytes=1 << 20)
NUMBER = re.compile(r"#define __NR(?:3264)?_(\w+) (\d+)$", re.MULTILINE)
HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a child might reach for: files around its own, sockets that are listened on, the process that called it."""
    secret = tmp_path / "secrets" / "local.env"
    secret.parent.mkdir()
    secret.write_text("BRIGADE_S3_SECRET_KEY=secret")
    around = tmp_path / "work"
    around.mkdir()
    for name in ("document", "another"):
        (around / name).write_text("some bytes")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0brigade-test-{os.getpid()}")
        unix.listen()
        yield {
            "secret": str(secret),
            "around": str(around),
            "input": str(around / "document"),
            "output": str(around / "pages"),
            "port": server.getsockname()[1],
            "address": f"\0brigade-test-{os.getpid()}",
            "worker": os.getpid(),
        }


def outcome(jail: Jail, surroundings: dict[str, Any], name: str) -> str:
    options = {**surroundings, "name": name}
    files = {kind: Path(surroundings[kind]) for kind in ("input", "output")}
    return str(jail.run("tests.unit.escapes:attempts", options=options, limits=LIMITS, **files)["error"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_child_is_refused_what_no_reader_needs(jail: Jail, surroundings: dict[str, Any], name: str) -> None:
    assert re.search(
        "Operation not permitted|Permission denied|Function not implemented|cross-device|can't start new thread"
        "|not allowed to raise",
        outcome(jail, surroundings, name),
    )
    assert Path(surroundings["secret"]).stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert Path(surroundings["input"]).read_text() == "some bytes"
    assert sorted(path.name for path in Path(surroundings["around"]).iterdir()) == ["another", "document", "pages"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_child_may_signal_itself_as_abort_does(jail: Jail, tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.touch()
    target = "tests.unit.escapes:signals_itself"
    assert jail.run(target, input=source, output=tmp_path / "output", options={}, limits=LIMITS) == {}


@pytest.mark.skipif(not os.environ.get("CI"), reason="a laptop's kernel may lack them; CI's must not")
def test_this_machine_has_the_protections_that_are_tried_here() -> None:
    protections = confinement.protections()
    assert protections["landlock"] >= 3
    assert protections["seccomp"] is True


def test_code_is_readable_and_what_lies_beside_it_is_not() -> None:
    root = Path(__file__).parents[2]
    paths = confinement.code_paths()
    assert str(root / "common") in paths
    assert not [path for path in paths if root.is_relative_to(path)]
    assert not [path for path in paths if (root / "var").is_relative_to(path)]


@pytest.mark.parametrize(("column", "header"), list(enumerate(HEADERS)), ids=("x86_64", "aarch64"))
def test_the_numbers_of_the_system_calls_are_those_of_the_kernels_headers(column: int, header: Path) -> None:
    if not header.exists():
        pytest.skip("linux-libc-dev is not installed")
    known = {name: int(number) for name, number in NUMBER.findall(header.read_text())}
    conditional = {name: numbers for name, (numbers, _) in system_calls.EXCEPT.items()}
    listed = {**system_calls.DENIED, **system_calls.TO_ITSELF, **conditional}
    # The general header keeps numbers for old calls that aarch64 never had.
    assert {name: numbers[column] for name, numbers in listed.items() if numbers[column] is not None} == {
        name: known[name] for name, numbers in listed.items() if numbers[column] is not None
    }
    assert known["set_mempolicy_home_node"] == system_calls.LAST_KNOWN


def test_every_machines_filter_is_well_formed() -> None:
    """As the kernel checks it: every jump lands within, and the last instruction returns (<linux/filter.h>)."""
    for column, architecture in confinement._MACHINES.values():
        steps = list(confinement._program(column, architecture, 1))
        for position, step in enumerate(steps):
            code, if_true, if_false = step[0] | step[1] << 8, step[2], step[3]
            assert len(step) == 8
            if code in (confinement._IF_EQUAL, confinement._IF_GREATER):
                assert position + 1 + max(if_true, if_false) < len(steps)
        assert steps[-1][0] == confinement._RETURN
