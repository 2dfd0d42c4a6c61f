"""Several files at once, modestly: sent a few at a time, then watched until their tasks have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from common.errors import BrigadeError, Cancelled
from deploy.cli.progress import current, short
from deploy.client import Client, Task

_SENT_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. `status` is its task's, once known; `error` says what went wrong, if anything.

    `duplicate`: it was not sent, the document has the same bytes; `resumed`: an earlier upload of it was gone on with.
    """

    file: str
    document_id: str | None = None
    task_id: str | None = None
    status: str | None = None
    error: str | None = None
    duplicate: bool = False
    resumed: bool = False


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files named, and those in the directories named, however deep; hidden ones only when named themselves."""
    found: dict[Path, None] = {}
    for path in paths:
        inside = (p for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p.relative_to(path)))
        found.update(dict.fromkeys(inside if path.is_dir() else [path]))
    return list(found)


class Uploads:
    """Sends files and, if asked to, watches their tasks; tells `on_end` of each file that is done with."""

    def __init__(
        self,
        client: Client,
        bars: Progress,
        on_end: Callable[[Outcome], object],
        *,
        knowledge_base: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> None:
        """`again`: send files too whose bytes the knowledge base has already."""
        self._client = client
        self._bars = bars
        self._on_end = on_end
        self._knowledge_base = knowledge_base
        self._metadata = metadata
        self._again = again
        self._stopped = threading.Event()

    def run(self, files: Sequence[Path], *, wait: bool) -> bool:
        """True if all went well."""
        everything = self._bars.add_task(f"{len(files)} files", total=len(files), now="", visible=len(files) > 1)
        # Files of the same bytes have one task.
        sent: dict[str, list[Outcome]] = {}
        well = True

        def end(outcome: Outcome) -> None:
            nonlocal well
            well = well and not outcome.error
            self._bars.advance(everything)
            self._on_end(outcome)

        for outcome in self._send_all(files):
            if wait and outcome.task_id and not outcome.error:
                sent.setdefault(outcome.task_id, []).append(outcome)
            else:
                end(outcome)
        for task in self._watch({task_id: outcomes[0].file for task_id, outcomes in sent.items()}):
            for outcome in sent[task.task_id]:
                end(_ended(outcome, task))
        return well

    def _send_all(self, files: Sequence[Path]) -> Iterator[Outcome]:
        with ThreadPoolExecutor(_SENT_AT_ONCE, thread_name_prefix="upload") as pool:
            try:
                for done in as_completed([pool.submit(self._send, file) for file in files]):
                    yield done.result()
            except BaseException:
                # Ctrl-C: what is being sent stops at its next piece.
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _send(self, file: Path) -> Outcome:
        bar: TaskID | None = None

        def on_bytes(count: int) -> None:
            if self._stopped.is_set():
                raise Cancelled
            if bar is not None:
                self._bars.update(bar, advance=count, now="sending")

        try:
            bar = self._bars.add_task(short(file.name), total=file.stat().st_size, bytes=True, now="reading")
            ticket = self._client.upload(
                file,
                knowledge_base=self._knowledge_base,
                metadata=self._metadata,
                allow_duplicate=self._again,
                on_bytes=on_bytes,
            )
        except OSError as error:
            return Outcome(str(file), error=f"{file.name} cannot be read: {error.strerror}.")
        except BrigadeError as error:
            return Outcome(str(file), error=error.message)
        finally:
            if bar is not None:
                self._bars.remove_task(bar)
        return Outcome(
            str(file), ticket.document_id, ticket.task_id, duplicate=ticket.duplicate, resumed=ticket.resumed
        )

    def _watch(self, sent: Mapping[str, str]) -> Iterator[Task]:
        """Each of these tasks when it has ended. `sent`: the file that it is of."""
        bars: dict[str, TaskID] = {}
        for task in self._client.watch(*sent):
            if task.task_id not in bars:
                name = short(Path(sent[task.task_id]).name)
                bars[task.task_id] = self._bars.add_task(name, total=100, now="")
            self._bars.update(bars[task.task_id], completed=task.overall_progress, now=current(task))
            if task.ended:
                self._bars.remove_task(bars[task.task_id])
                yield task


def _ended(outcome: Outcome, task: Task) -> Outcome:
    return replace(outcome, status=task.status, error=None if task.status == "COMPLETED" else task.reason)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
