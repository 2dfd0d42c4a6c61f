"""The end of `brigade up`: a bilingual sample goes through, and answers a question in each language."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from common.errors import BrigadeError
from deploy.cli.passages import show
from deploy.cli.progress import TaskView
from deploy.client import ApiError, Client, Task
from deploy.local.report import Report
from deploy.sample import NAME, QUESTIONS, sample_pdf

_LONGEST_SECONDS = 120.0
_PASSAGES = 2


class DemoFailed(BrigadeError):
    """The sample did not get through."""

    code = "DEMO_FAILED"


@dataclass(frozen=True, slots=True)
class _Remembered:
    """The sample that this var/ holds already, by its content."""

    sha256: str
    document_id: str
    task_id: str


class Demo:
    """`memory`: the file that remembers the sample between runs. `check` is called while waiting, and may raise."""

    def __init__(self, client: Client, report: Report, memory: Path, check: Callable[[], None]) -> None:
        self._client = client
        self._report = report
        self._memory = memory
        self._check = check

    def run(self) -> None:
        """Raises `DemoFailed` if the sample does not get through."""
        sample = sample_pdf()
        document_id = self._ingested(hashlib.sha256(sample).hexdigest()) or self._ingest(sample)
        for question in QUESTIONS:
            self._ask(question, document_id)

    def _ingested(self, sha256: str) -> str | None:
        """The document, if this very sample was ingested by an earlier run, or is being ingested since."""
        try:
            known = msgspec.json.decode(self._memory.read_bytes(), type=_Remembered)
            task = self._client.task(known.task_id) if known.sha256 == sha256 else None
        except (FileNotFoundError, msgspec.MsgspecError, ApiError):
            return None
        if not task or task.status in ("FAILED", "CANCELLED"):
            return None
        if task.ended:
            self._report.say(f"The sample {NAME} is there from an earlier run")
        else:
            self._report.say(f"The sample {NAME} of an earlier run is still on its way:")
            self._follow(known.task_id)
        return known.document_id

    def _ingest(self, sample: bytes) -> str:
        self._report.say(f"Uploading {NAME}, {len(sample) / 1000:.0f} kB in English and Chinese, by presigned PUT:")
        began = time.monotonic()
        ticket = self._client.upload_bytes(NAME, sample)
        known = _Remembered(hashlib.sha256(sample).hexdigest(), ticket.document_id, ticket.task_id)
        self._memory.write_bytes(msgspec.json.encode(asdict(known)))
        self._follow(ticket.task_id)
        self._report.say(f"It can be searched, {time.monotonic() - began:.1f} s after the first byte was sent")
        return ticket.document_id

    def _follow(self, task_id: str) -> Task:
        deadline = time.monotonic() + _LONGEST_SECONDS
        with TaskView(self._report.console) as view:
            for task in self._client.tasks.poll(task_id):
                self._check()
                view.show(task)
                if not task.ended and time.monotonic() > deadline:
                    waiting = next(step for step in task.task_details if step.status != "COMPLETED")
                    raise DemoFailed(f"The sample is at {waiting.step_name} since {_LONGEST_SECONDS:.0f} s.")
        if task.status != "COMPLETED":
            raise DemoFailed(f"The sample did not get through: {task.reason}")
        return task

    def _ask(self, question: str, document_id: str) -> None:
        answer = self._client.search(question, top_k=_PASSAGES, documents=[document_id])
        if not answer.hits:
            raise DemoFailed(f"Nothing was found for “{question}”.")
        console: Console = self._report.console
        console.print()
        console.print(Text.assemble(("? ", "bold cyan"), (question, "bold"), (f"   {answer.took_ms:.0f} ms", "dim")))
        show(console, answer.hits)
