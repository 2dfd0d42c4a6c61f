from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common.errors import BrigadeError, Cancelled, DiskFull, Rejected, Retryable
from common.jail import Jail, Limits

LIMITS = Limits(wall_seconds=30, cpu_seconds=20, memory_bytes=64 << 20, output_bytes=1 << 20)
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


@pytest.fixture
def run(jail: Jail, tmp_path: Path) -> Run:
    source = tmp_path / "input"
    source.write_bytes(b"some bytes")

    def run(target: str, *, limits: Limits = LIMITS, **options: Any) -> dict[str, Any]:
        check = options.pop("check", lambda: None)
        return jail.run(
            f"tests.unit.jail_targets:{target}",
            input=source,
            output=tmp_path / "output",
            options=options,
            limits=limits,
            check=check,
        )

    return run


def test_a_function_reads_its_input_writes_its_output_and_returns_details(run: Run, tmp_path: Path) -> None:
    assert run("copies", colour="red") == {"copied": 10, "colour": "red"}
    assert (tmp_path / "output").read_bytes() == b"some bytes"


def test_the_child_sees_no_secret_no_descriptor_and_not_our_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGADE_S3_SECRET_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    jail = Jail()
    try:
        seen = jail.run(
            "tests.unit.jail_targets:tells_where_it_is",
            input=tmp_path,
            output=tmp_path / "output",
            options={},
            limits=LIMITS,
        )
    finally:
        jail.close()
    assert "secret" not in seen["environment"].values()
    assert not [name for name in seen["environment"] if name.startswith("BRIGADE")]
    assert seen["directory"] == "/"
    assert seen["descriptors"] == [3]


def test_a_rejection_keeps_its_code_and_sentence(run: Run) -> None:
    with pytest.raises(Rejected, match="This file is no good") as caught:
        run("rejects")
    assert caught.value.code == "NO_GOOD"


def test_a_bug_is_no_rejection_and_brings_its_traceback(run: Run) -> None:
    with pytest.raises(BrigadeError, match=r"(?s)has_a_bug.*ZeroDivisionError") as caught:
        run("has_a_bug")
    assert not isinstance(caught.value, Rejected)


def test_a_target_that_does_not_exist_is_a_bug(run: Run) -> None:
    with pytest.raises(BrigadeError, match="has no attribute 'is_not_there'"):
        run("is_not_there")


@pytest.mark.parametrize(
    ("target", "limits", "code", "budget"),
    [
        ("sleeps", Limits(0.3, 20, 64 << 20, 1 << 20), "EXTRACT_TIMEOUT", "0.3 seconds"),
        ("loops", Limits(30, 1, 64 << 20, 1 << 20), "EXTRACT_CPU", "1 seconds of CPU"),
        ("hoards", LIMITS, "EXTRACT_MEMORY", "64 MiB of memory"),
        ("scribbles", LIMITS, "EXTRACT_OUTPUT", r"1 MiB of text .* \(BRIGADE_EXTRACT_OUTPUT_BYTES\)"),
        ("segfaults", LIMITS, "EXTRACT_CRASHED", "SIGSEGV"),
        ("loops_deaf", Limits(30, 1, 64 << 20, 1 << 20), "EXTRACT_CPU", "BRIGADE_EXTRACT_CPU_SECONDS"),
        ("hoards_below_python", LIMITS, "EXTRACT_MEMORY", "BRIGADE_EXTRACT_MEMORY_BYTES"),
        ("sleeps_with_everything_closed", Limits(0.3, 20, 64 << 20, 1), "EXTRACT_TIMEOUT", "BRIGADE_EXTRACT_SECONDS"),
    ],
)
def test_whatever_a_child_does_is_a_rejection_that_names_the_budget_and_the_next_run_goes_through(
    run: Run, target: str, limits: Limits, code: str, budget: str
) -> None:
    with pytest.raises(Rejected, match=budget) as caught:
        run(target, limits=limits)
    assert caught.value.code == code
    assert run("copies") == {"copied": 10}


@pytest.mark.parametrize(
    "answer",
    [
        {"text": '{"type": "Returned", "deta'},
        {"text": "nonsense\n", "stays": False},
        {"text": "x" * 1024, "times": 2048, "stays": True},
        {"text": '{"type": "Returned", "details": 7}\n'},
        {"text": '{"type": "Returned", "details": {}}\n', "times": 2},
        {"text": '{"type": "Ended", "exit_code": 0, "cpu_seconds": 0, "peak_bytes": 0}\n'},
    ],
    ids=("half", "nonsense", "no end", "wrong", "twice", "as the zygote"),
)
def test_an_answer_that_is_none_is_a_crash(run: Run, answer: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        run("babbles", **answer)
    assert caught.value.code == "EXTRACT_CRASHED"
    assert run("copies") == {"copied": 10}


def test_a_child_cannot_say_in_the_zygotes_place_that_it_has_ended(run: Run) -> None:
    forged = '{"type": "Returned", "details": {}}\n{"exit_code": 0, "cpu_seconds": 0, "peak_bytes": 0}\n'
    with pytest.raises(Rejected) as caught:
        run("babbles", text=forged, stays=True, limits=Limits(0.3, 20, 64 << 20, 1 << 20))
    assert caught.value.code == "EXTRACT_TIMEOUT"


def test_a_disk_that_is_full_is_not_the_documents_fault(jail: Jail, tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_bytes(b"some bytes")
    with pytest.raises(DiskFull) as caught:
        jail.run("tests.unit.jail_targets:copies", input=source, output=Path("/dev/full"), options={}, limits=LIMITS)
    assert caught.value.told == "The worker's disk is full."


def test_an_abort_with_the_memory_used_up_is_about_memory(run: Run) -> None:
    with pytest.raises(Rejected) as caught:
        run("aborts_when_memory_is_out", bytes=48 << 20)
    assert caught.value.code == "EXTRACT_MEMORY"


@linux
def test_a_check_that_raises_kills_the_child(run: Run, tmp_path: Path) -> None:
    def check() -> None:
        if _text_of(tmp_path / "output"):
            raise Cancelled

    with pytest.raises(Cancelled):
        run("sleeps", check=check)
    assert not _lives(int(_text_of(tmp_path / "output")))


def test_runs_go_side_by_side(jail: Jail, tmp_path: Path) -> None:
    def run(number: int) -> dict[str, Any]:
        source = tmp_path / str(number)
        source.write_bytes(b"x" * number)
        return jail.run(
            "tests.unit.jail_targets:copies",
            input=source,
            output=tmp_path / f"{number}.out",
            options={},
            limits=LIMITS,
        )

    with ThreadPoolExecutor(8) as threads:
        assert [found["copied"] for found in threads.map(run, range(40))] == list(range(40))


@linux
def test_a_dead_zygote_makes_its_run_retryable_and_the_next_run_starts_another(run: Run, tmp_path: Path) -> None:
    killed: list[int] = []

    def kills_the_zygote() -> None:
        child = _text_of(tmp_path / "output")
        if child and not killed:
            killed.append(int(_status_of(int(child))["PPid"]))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(Retryable):
        run("sleeps", check=kills_the_zygote)
    assert run("copies") == {"copied": 10}


def test_a_closed_jail_starts_anew(run: Run, jail: Jail) -> None:
    run("copies")
    jail.close()
    assert run("copies") == {"copied": 10}


@linux
def test_the_jail_dies_with_its_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path / "output")], cwd=Path(__file__).parents[2])
    try:
        _await(lambda: _text_of(tmp_path / "output") != "")
        child = int(_text_of(tmp_path / "output"))
        zygote = int(_status_of(child)["PPid"])
        assert _lives(zygote)
    finally:
        worker.kill()
        worker.wait()
    _await(lambda: not _lives(child) and not _lives(zygote))


_WORKER = """
import sys
from pathlib import Path
from common.jail import Jail, Limits
Jail().run("tests.unit.jail_targets:sleeps", input=Path("/"), output=Path(sys.argv[1]), options={},
           limits=Limits(60, 60, 1 << 26, 1 << 20))
"""


def _status_of(pid: int) -> dict[str, str]:
    """Linux's account of a process, {} when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _lives(pid: int) -> bool:
    """Neither gone nor a zombie that nobody has buried yet."""
    return _status_of(pid).get("State", "Z")[0] != "Z"


def _await(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)
