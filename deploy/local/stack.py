"""`brigade up`: the private servers, our three processes, the sample, and an orderly end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from common.errors import BrigadeError, Unavailable
from deploy.cli.output import complain
from deploy.client import Client
from deploy.local import api_port, environment
from deploy.local.demo import Demo
from deploy.local.report import JsonReport, Report
from deploy.local.servers import LocalServers
from deploy.local.supervisor import PartFailed, Supervisor, tail

_APPLICATIONS = ("api", "worker", "scheduler")
_READY_SECONDS = 60.0
_FAREWELL_SECONDS = 4.0
_BRIGADE = (sys.executable, "-m", "deploy.cli")
# Those of `var/local.env`, so that any other terminal, and any other program, finds this stack.
_TOLD = (
    "BRIGADE_URL",
    "BRIGADE_API_KEY",
    "BRIGADE_DATABASE_URL",
    "BRIGADE_AMQP_URL",
    "BRIGADE_MILVUS_URI",
    "BRIGADE_S3_ENDPOINT",
    "BRIGADE_S3_ACCESS_KEY",
    "BRIGADE_S3_SECRET_KEY",
    "BRIGADE_S3_SIGNING_ACCESS_KEY",
    "BRIGADE_S3_SIGNING_SECRET_KEY",
    "BRIGADE_BUCKET",
    "BRIGADE_EVENTS_TOKEN",
    "BRIGADE_MODEL_DIR",
)


class Ended(BaseException):
    """A signal asked for the end. No `Exception`, so that no retry on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)


def up(*, demo: bool, json: bool, brigade: Sequence[str] = _BRIGADE, new_model: bool = False) -> int:
    """Start everything, stay until a signal, end everything. Returns the exit code.

    `brigade`: the command whose `migrate`, `api`, `worker` and `scheduler` are run. `new_model`: see `migrate`.
    """
    report = JsonReport(Console(stderr=True)) if json else Report(Console())
    began = time.monotonic()
    try:
        with ExitStack() as started, _signals():
            try:
                stack = Stack(environment.directory(), report, started, brigade)
                stack.start(new_model=new_model)
                report.done("Everything is up", time.monotonic() - began)
                if demo:
                    stack.demo()
                stack.stay()
            except Ended as end:
                report.say(f"{end.number.name}: ending everything (once more: at once)")
                began = time.monotonic()
                started.close()
                report.done("Everything has ended; the data stays", time.monotonic() - began)
    except BrigadeError as error:
        complain(error.message)
        return 1
    except Ended as end:  # while a failed start was being cleared up; the guardian does the rest
        return 128 + end.number
    return 0


class Stack:
    """One checkout's stack in `directory`. What it starts is ended by `started`, the last first."""

    def __init__(self, directory: Path, report: Report, started: ExitStack, brigade: Sequence[str]) -> None:
        self._directory = directory
        self._report = report
        self._started = started
        self._brigade = brigade
        self._file = environment.file_in(directory)
        self._remembered = environment.read(self._file)
        self._environment: dict[str, str] = {}

    def start(self, *, new_model: bool = False) -> None:
        """Return when all of it is ready. Raises `BrigadeError` when a part cannot start."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        port = api_port.choose(os.environ, self._remembered)
        placeholder = self._started.enter_context(api_port.hold(port))
        with self._report.step("Starting Postgres, store, RabbitMQ and Milvus", "The servers are up"):
            servers = LocalServers(self._directory, api_port=port, report=self._report.say, reuse=os.environ)
            servers.start()
            self._started.callback(servers.stop)
        self._environment = self._compose(port, servers.environment)
        self._supervisor = Supervisor(
            self._environment, self._directory / "log", servers.guardian, report=self._report.warn
        )
        self._started.callback(self._supervisor.stop, _FAREWELL_SECONDS)
        self._build_model()
        with self._report.step("Preparing them", "Tables, bucket, rules and collection are there"):
            self._supervisor.run("migrate", [*self._brigade, "migrate", *(["--new-model"] if new_model else [])])
        placeholder.close()
        with self._report.step("Starting API, worker and scheduler", "API, worker and scheduler are up"):
            for name in _APPLICATIONS:
                self._supervisor.start(name, [*self._brigade, name])
            self._client = self._started.enter_context(
                Client(self._environment["BRIGADE_URL"], self._environment["BRIGADE_API_KEY"])
            )
            self._await_ready()
            self._supervisor.settle()
        environment.write(self._file, {name: self._environment[name] for name in _TOLD if name in self._environment})

    def demo(self) -> None:
        """Show the sample. A failure is said, and the stack stays up to be looked at."""
        try:
            Demo(self._client, self._report, self._directory / "demo.json", self._supervisor.check).run()
        except BrigadeError as error:
            self._report.warn(f"{error.message} See the logs in {self._directory / 'log'}.")

    def stay(self) -> None:
        """Say how to use it, and wait for a signal."""
        self._report.ready(self._environment["BRIGADE_URL"], self._file)
        while True:
            signal.pause()

    def _compose(self, port: int, servers: Mapping[str, str]) -> dict[str, str]:
        """The environment of our processes: the user's, with where everything is."""
        ours = {
            "BRIGADE_URL": f"http://127.0.0.1:{port}",
            "BRIGADE_API_PORT": str(port),
            "BRIGADE_API_KEY": os.environ.get("BRIGADE_API_KEY")
            or self._remembered.get("BRIGADE_API_KEY")
            or _new_key(),
            "BRIGADE_MODEL_DIR": os.environ.get("BRIGADE_MODEL_DIR")
            or str(self._directory / "models" / "multilingual-e5-small"),
            # A proxy of the user's must not stand between the parts of one machine.
            "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost"))),
        }
        return {**os.environ, **servers, **ours}

    def _build_model(self) -> None:
        model = Path(self._environment["BRIGADE_MODEL_DIR"])
        if not (model / "manifest.json").exists():
            self._report.say("The embedding model is built once, which takes a minute or two")
            with self._report.step("Building the embedding model", "The embedding model is built"):
                self._supervisor.run("model", [sys.executable, "-m", "deploy.models"])

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        wrong = "it does not answer"
        while time.monotonic() < deadline:
            self._supervisor.check()
            with suppress(Unavailable):
                readiness = self._client.readiness()
                if readiness.ready:
                    return
                wrong = ", ".join(f"{name}: {what}" for name, what in readiness.checks.items() if what != "ok")
            time.sleep(0.05)
        log = self._supervisor.log("api")
        raise PartFailed(f"The API is not ready after {_READY_SECONDS:.0f} s: {wrong}. The end of {log}:\n{tail(log)}")


def _new_key() -> str:
    from common.api_keys import new_key  # with SQLAlchemy behind it, and needed once

    return new_key()


@contextmanager
def _signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `Ended`, once; a second one ends us at once, and the guardian the rest."""

    def end(number: int, _: FrameType | None) -> None:
        if ending:
            os._exit(128 + number)
        ending.append(number)
        raise Ended(number)

    ending: list[int] = []
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
