"""What is broken, each by a name: begun, held for a while, ended. THE table of them is at the end.

A fault is a context manager over the stage. While it lasts no other fault of the same target begins.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.failpoints import POINTS
from tests.chaos.proxy import BOTH, DOWN, UP
from tests.chaos.stage import SERVERS, Stage

Breaking = Callable[[Stage, Random], AbstractContextManager[None]]

# Debian's package libfaketime.
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_FIRES_SECONDS = 8
_POINTS_AT_ONCE = 3


@dataclass(frozen=True)
class Fault:
    """`target`: what it is done to. `short` and `long`: for how many seconds it lasts, in CI and in the long form.
    `missing`: why it cannot be had on this machine, or nothing."""

    name: str
    target: str
    breaking: Breaking
    short: float = 0
    long: float = 0
    missing: Callable[[Stage], str] = lambda _: ""


def _kill(name: str) -> Breaking:
    @contextmanager
    def killed(stage: Stage, random: Random) -> Iterator[None]:
        stage.processes[name].kill()
        yield

    return killed


@contextmanager
def _frozen(stage: Stage, random: Random) -> Iterator[None]:
    """A worker stands still for longer than its lease, and then goes on as if nothing had been."""
    worker = random.choice(stage.workers)
    worker.freeze()
    try:
        yield
    finally:
        worker.thaw()


def _fail_at(points: tuple[str, ...]) -> Breaking:
    @contextmanager
    def armed(stage: Stage, random: Random) -> Iterator[None]:
        """Who comes by first dies. A step that nothing asks for now is asked for later in the round, or never."""
        chosen = random.sample(points, min(len(points), _POINTS_AT_ONCE))
        for point in chosen:
            stage.flags.arm(point)
        yield
        pause, deadline = threading.Event(), time.monotonic() + _FIRES_SECONDS
        while not all(map(stage.flags.fired, chosen)) and time.monotonic() < deadline:
            pause.wait(0.05)
        stage.deaths += [point for point in chosen if not stage.flags.disarm(point)]

    return armed


def _crash(name: str) -> Breaking:
    @contextmanager
    def crashed(stage: Stage, random: Random) -> Iterator[None]:
        stage.server(name).kill()
        try:
            yield
        finally:
            stage.server(name).start()

    return crashed


def _away(name: str) -> Breaking:
    @contextmanager
    def stopped(stage: Stage, random: Random) -> Iterator[None]:
        stage.server(name).stop()
        try:
            yield
        finally:
            stage.server(name).start()

    return stopped


def _net(name: str, what: str) -> Breaking:
    @contextmanager
    def broken(stage: Stage, random: Random) -> Iterator[None]:
        proxy = stage.proxies[name]
        directions = random.choice([(UP,), (DOWN,), BOTH])
        try:
            match what:
                case "delay":
                    proxy.delay(random.uniform(0.05, 0.3), directions)
                case "cut":
                    proxy.cut()
                case "hold":
                    proxy.hold(directions)
            yield
        finally:
            proxy.heal()

    return broken


@contextmanager
def _node_lost(stage: Stage, random: Random) -> Iterator[None]:
    """The nodes in turn, so that the one that leads the queues is among them."""
    assert stage.cluster is not None
    node = stage.cluster.next_victim()
    node.kill()
    try:
        yield
    finally:
        node.start()


@contextmanager
def _purged(stage: Stage, random: Random) -> Iterator[None]:
    stage.purge()
    yield


@contextmanager
def _wiped(stage: Stage, random: Random) -> Iterator[None]:
    """RabbitMQ comes back with nothing of what it had."""
    stage.servers.rabbitmq.stop()
    shutil.rmtree(stage.servers.rabbitmq.directory / "data")
    try:
        yield
    finally:
        stage.servers.rabbitmq.start()


def _courier(mode: str) -> Breaking:
    @contextmanager
    def carrying(stage: Stage, random: Random) -> Iterator[None]:
        stage.courier.mode = mode
        try:
            yield
        finally:
            stage.courier.mode = "pass"
            stage.courier.release()

    return carrying


@contextmanager
def _replayed(stage: Stage, random: Random) -> Iterator[None]:
    yield
    stage.courier.replay()


@contextmanager
def _disk_full(stage: Stage, random: Random) -> Iterator[None]:
    """Not one byte is left where worker 1 puts files while it extracts."""
    rubbish = stage.work_dir / "rubbish"
    with suppress(OSError), rubbish.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
    try:
        yield
    finally:
        rubbish.unlink()


def _clock(name: str, offset: str) -> Breaking:
    @contextmanager
    def moved(stage: Stage, random: Random) -> Iterator[None]:
        """It is started with another clock, and in the end with the right one."""
        process = stage.processes[name]
        # Only what the clock on the wall says: waiting for so long takes as long as ever.
        process.restart(LD_PRELOAD=str(_FAKETIME[0]), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1")
        try:
            yield
        finally:
            process.restart()

    return moved


def _no_faketime(_: Stage) -> str:
    return "" if _FAKETIME else "libfaketime is not installed (on Debian: apt-get install faketime)"


def _none_of(name: str) -> Callable[[Stage], str]:
    return lambda stage: "" if stage.has(name) else f"no {name} of this stage's own"


def _no_cluster(stage: Stage) -> str:
    return "" if stage.cluster else "RabbitMQ is no cluster here (--cluster)"


def _no_tmpfs(stage: Stage) -> str:
    return "" if stage.work_dir.is_mount() else "no small tmpfs can be mounted here to be filled (only root can)"


_OF_STEPS = tuple(point for point in POINTS if not point.endswith((":UPLOAD", ":RELAY", ":REMOVE", ":ERASE")))
_OF_OTHERS = tuple(point for point in POINTS if point not in _OF_STEPS)

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-worker", "worker-1", _kill("worker-1")),
        Fault("kill-scheduler", "scheduler", _kill("scheduler")),
        Fault("kill-api", "api", _kill("api")),
        Fault("freeze-worker", "worker-1", _frozen, short=5, long=12),
        Fault("fail-in-steps", "worker-2", _fail_at(_OF_STEPS)),
        Fault("fail-in-others", "worker-2", _fail_at(_OF_OTHERS)),
        Fault("fail-after-vectors", "worker-2", _fail_at(("after_run:STORE",))),
        Fault("fail-after-pin", "worker-2", _fail_at(("after_run:VALIDATE",))),
        *(Fault(f"crash-{name}", name, _crash(name), missing=_none_of(name)) for name in SERVERS),
        *(Fault(f"stop-{name}", name, _away(name), short=5, long=60, missing=_none_of(name)) for name in SERVERS),
        *(
            Fault(f"{what}-{name}", name, _net(name, what), short=2.5, long=15, missing=_none_of(name))
            for name in SERVERS
            for what in ("delay", "cut", "hold")
        ),
        Fault("purge-rabbitmq", "rabbitmq", _purged, missing=_none_of("rabbitmq")),
        Fault("wipe-rabbitmq", "rabbitmq", _wiped, missing=_none_of("rabbitmq")),
        Fault("lose-node", "rabbitmq", _node_lost, short=5, long=30, missing=_no_cluster),
        *(
            Fault(f"notifications-{mode}", "courier", _courier(mode), short=4, long=15)
            for mode in ("refuse", "lose", "double", "shuffle", "back")
        ),
        Fault("notifications-replay", "courier", _replayed),
        Fault("disk-full", "disk", _disk_full, short=4, long=15, missing=_no_tmpfs),
        Fault("clock-worker-slow", "worker-1", _clock("worker-1", "-10m"), short=4, long=15, missing=_no_faketime),
        Fault("clock-worker-wrong", "worker-1", _clock("worker-1", "+3h"), short=4, long=15, missing=_no_faketime),
        Fault("clock-scheduler", "scheduler", _clock("scheduler", "-2h"), short=4, long=15, missing=_no_faketime),
        Fault("clock-api", "api", _clock("api", "+10m"), short=4, long=15, missing=_no_faketime),
    )
}


class Targets:
    """One lock for each: what is stopped is not killed meanwhile."""

    def __init__(self) -> None:
        self._locks = {fault.target: threading.Lock() for fault in FAULTS.values()}

    def of(self, fault: Fault) -> threading.Lock:
        return self._locks[fault.target]
