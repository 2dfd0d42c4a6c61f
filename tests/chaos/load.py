"""Writers: they drop, announce, overwrite, remove, cancel and retry, and write down what they were told.

Each has keys of its own and does one thing at a time, so the order of what was acknowledged about a key is known. A key
of which an answer was lost is left alone from then on: what is still on its way to the store may arrive at any time.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import BrigadeError
from common.objects import boto_client
from tests.chaos import documents
from tests.chaos.documents import Body
from tests.chaos.ledger import Entry, Ledger, etag_of
from tests.chaos.stage import Stage

_LOST = (BotoCoreError, ClientError, httpx.HTTPError, BrigadeError, OSError)
_HOW_OFTEN = {"drop": 36, "announce": 22, "overwrite": 18, "again": 4, "remove": 8, "recreate": 5, "delete": 5}
_HOW_OFTEN |= {"cancel": 4, "retry": 3}
_WRITERS = 3


class Load:
    """`operations`: of all writers together. `pace_seconds`: between two of one writer, at most."""

    def __init__(self, stage: Stage, ledger: Ledger, *, seed: str, operations: int, pace_seconds: float) -> None:
        self._stop = threading.Event()
        self.writers = [
            Writer(
                stage,
                ledger,
                ledger.entries[number::_WRITERS],  # what earlier rounds left, to be overwritten and removed
                Random(f"{seed}/{number}"),
                operations // _WRITERS + 1,
                pace_seconds,
                self._stop,
            )
            for number in range(_WRITERS)
        ]
        self._threads = [threading.Thread(target=writer.run, daemon=True) for writer in self.writers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Until all is put. What a writer did not expect is raised here."""
        for thread in self._threads:
            thread.join()
        for writer in self.writers:
            if writer.error is not None:
                raise writer.error

    def stop(self) -> None:
        self._stop.set()


class Writer:
    def __init__(
        self,
        stage: Stage,
        ledger: Ledger,
        mine: list[Entry],
        random: Random,
        operations: int,
        pace_seconds: float,
        stop: threading.Event,
    ) -> None:
        self._stage = stage
        self._system = stage.system
        self._ledger = ledger
        self._random = random
        self._operations = operations
        self._pace = pace_seconds
        self._stop = stop
        self._mine = mine
        self.error: BaseException | None = None
        settings = self._system.settings
        self._bucket = settings.bucket
        # Of its own, and one try only: a second one of the library's would hide that an answer was lost.
        self._s3: Any = boto_client(
            settings, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
        )
        self._http = httpx.Client(timeout=10, trust_env=False)

    def run(self) -> None:
        actions: dict[str, Callable[[], None]] = {name: getattr(self, f"_{name}") for name in _HOW_OFTEN}
        try:
            for _ in range(self._operations):
                actions[self._random.choices(list(_HOW_OFTEN), list(_HOW_OFTEN.values()))[0]]()
                if self._stop.wait(self._random.uniform(0, self._pace)):
                    return
        except BaseException as error:  # noqa: BLE001 - raised by `Load.join`
            self.error = error
        finally:
            self._http.close()

    # What a writer does.

    def _drop(self) -> None:
        body = documents.make(self._random)
        entry = self._ledger.open(f"incoming/chaos-{uuid.UUID(int=self._random.getrandbits(128))}/a b{body.suffix}")
        self._put(entry, body)
        self._mine.append(entry)

    def _announce(self) -> None:
        body = documents.make(self._random)
        name = f"{self._random.getrandbits(48):x}{body.suffix}"
        try:
            # An empty file cannot be announced; one is dropped under the announced key instead.
            ticket = self._system.client.uploads.announce(name, max(1, len(body.data)), "text/plain", method="put")
        except _LOST:
            return  # nothing was promised
        entry = self._ledger.open(ticket.key, ticket.document_id)
        self._mine.append(entry)
        if not body.data:
            self._put(entry, body)
            return
        entry.putting(body)
        try:
            self._http.put(ticket.url, content=body.data, headers=ticket.headers).raise_for_status()
        except _LOST:
            entry.retired = True
        else:
            entry.put(body)

    def _overwrite(self) -> None:
        entry = self._some(lambda entry: entry.body is not None)
        if entry is not None:
            self._put(entry, documents.make(self._random, entry.key))

    def _again(self) -> None:
        entry = self._some(lambda entry: entry.body is not None)
        if entry is not None and entry.body is not None:
            self._put(entry, entry.body)

    def _remove(self) -> None:
        entry = self._some(lambda entry: entry.body is not None)
        if entry is None:
            return
        entry.removing()
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=entry.key)
        except _LOST:
            entry.retired = True
        else:
            entry.removed()

    def _recreate(self) -> None:
        entry = self._some(lambda entry: entry.body is None and entry.puts > 0)
        if entry is not None:
            self._put(entry, documents.make(self._random, entry.key))

    def _delete(self) -> None:
        entry = self._some(lambda entry: entry.body is not None and entry.document_id is not None)
        if entry is None:
            return
        entry.removing()
        entry.retired = True  # what is put there while it is being deleted is deleted too, or not: nobody is promised
        document_id = str(entry.document_id)
        try:
            self._system.client.documents.delete(document_id)
        except _LOST:
            return
        entry.removed()

    def _cancel(self) -> None:
        entry = self._some(lambda entry: entry.body is not None)
        task_id = self._latest_task(entry) if entry else None
        if entry is None or task_id is None:
            return
        entry.free.add(task_id)
        try:
            self._system.client.tasks.cancel(task_id)
        except _LOST:
            return

    def _retry(self) -> None:
        entry = self._some(lambda entry: bool(entry.free))
        if entry is None:
            return
        try:
            self._system.client.tasks.retry(self._random.choice(sorted(entry.free)))
        except _LOST:
            return

    # Of which it is made.

    def _put(self, entry: Entry, body: Body) -> None:
        entry.putting(body)
        try:
            answer = self._s3.put_object(Bucket=self._bucket, Key=entry.key, Body=body.data)
        except _LOST:
            entry.retired = True
            return
        assert answer["ETag"].strip('"') == etag_of(body.data), "the store acknowledged other bytes than those"
        entry.put(body)

    def _some(self, condition: Callable[[Entry], bool]) -> Entry | None:
        fitting = [entry for entry in self._mine if not entry.retired and condition(entry)]
        return self._random.choice(fitting) if fitting else None

    def _latest_task(self, entry: Entry) -> str | None:
        try:
            tasks = self._system.tasks_of(entry.key)
        except BrigadeError:
            return None
        return tasks[-1] if tasks else None
