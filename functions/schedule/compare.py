"""Compare Postgres, store and Milvus both ways, and repair: `brigade audit`, and what of it the scheduler does alone.

Work goes on meanwhile. So whatever seems wrong is asked about again before it is said or repaired, and what ended or
was written within `audit_grace_seconds` is left to whoever works on it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog
from sqlalchemy import Connection

from common import job_runs, tidying
from common.comparison import differences, inventory, repairs
from common.comparison.differences import Lost, Stray, Version
from common.comparison.findings import WORDS, Findings, Kind, Report
from common.contents import READ_STEPS
from common.findings import Gone
from common.pipelines import Pipeline
from common.reconciling import Outcome, Reconciler
from common.services import Services
from common.telemetry import AUDIT_ENDED, AUDIT_FINDINGS
from common.untrusted import is_nameable
from functions.schedule.tidy import clear, cut

log = structlog.get_logger()

_JOB = "audit"
_INCOMING, _ARTIFACTS = "incoming/", "artifacts/"
# Between two looks whether a removal has been told.
_SETTLE_SECONDS = 0.5
# Above this, and half of all documents, objects that are gone are taken for a store that is not the one it was.
_FEW = 10


def audit(services: Services, pipelines: Mapping[str, Pipeline]) -> None:
    """Tick: once in `audit_seconds`, by whichever process. Repairs what nobody can miss; logs what else it found."""
    with services.database.transaction() as connection:
        due = job_runs.is_due(connection, _JOB, every_seconds=services.settings.audit_seconds)
    if not due:
        return
    report = compare(services, pipelines, repair=[kind for kind in Kind if WORDS[kind].safe])
    left = dict.fromkeys(Kind, 0) | {finding.kind: finding.left for finding in report.findings}
    for kind, count in left.items():
        AUDIT_FINDINGS.labels(kind).set(count)
    AUDIT_ENDED.set_to_current_time()
    for finding in report.findings:
        if finding.left:
            log.error(
                "audit.finding",
                kind=finding.kind,
                count=finding.left,
                what=finding.what,
                examples=finding.examples,
                advice=f"`brigade audit --repair` {finding.repair}.",
            )
    repaired = {finding.kind: finding.repaired for finding in report.findings if finding.repaired}
    log.info(
        "audit.done",
        seconds=report.seconds,
        clean=report.clean,
        repaired=repaired,
        left=+Counter(left),
        **report.compared,
    )


def compare(services: Services, pipelines: Mapping[str, Pipeline], *, repair: Collection[Kind] = ()) -> Report:
    """Everything that does not agree, and what came of repairing these kinds of it. One runs at a time."""
    started = time.monotonic()
    with services.database.exclusive(_JOB) as connection:
        comparison = _Comparison(services, pipelines, connection, repair)
        comparison.run()
        job_runs.ended(connection, _JOB)
    findings = comparison.findings.all()
    return Report(
        clean=not any(finding.left for finding in findings),
        findings=findings,
        compared=comparison.compared,
        seconds=round(time.monotonic() - started, 2),
    )


class _Comparison:
    """`connection`: holds the tables of the listing. What is asked again, and repaired, has transactions of its own."""

    def __init__(
        self, services: Services, pipelines: Mapping[str, Pipeline], connection: Connection, repair: Collection[Kind]
    ) -> None:
        self.findings = Findings()
        self.compared: dict[str, int] = {}
        self._services = services
        self._database, self._objects, self._index = services.database, services.objects, services.index
        self._settings = services.settings
        self._upload, self._removal = pipelines["DOCUMENT_UPLOAD"], pipelines["DOCUMENT_DELETE"]
        self._connection = connection
        self._repair = frozenset(repair)

    def run(self) -> None:
        self._list()
        self._tasks()
        self._removals()
        # What has no object cannot be processed again, so these come first.
        self._missing_objects()
        self._vectors()
        self._missing_artifacts()
        self._orphans()
        self._strays()

    def _list(self) -> None:
        inventory.prepare(self._connection)
        self._listed_at = time.monotonic()
        ours = self._objects.bucket
        objects = sum(
            inventory.add_objects(self._connection, bucket, self._objects.listed(bucket, _INCOMING))
            for bucket in inventory.buckets(self._connection)
        )
        artifacts = inventory.add_objects(self._connection, ours, self._objects.listed(ours, _ARTIFACTS))
        vectors = inventory.add_vectors(self._connection, self._index.chunks())
        inventory.analyze(self._connection)
        self.compared = {
            "documents": differences.count_documents(self._connection),
            "objects": objects,
            "artifacts": artifacts,
            "vectors": vectors,
        }

    def _tasks(self) -> None:
        """Those that `tidy` and `trim` should have seen to long since."""
        settings, kind = self._settings, Kind.UNTIDY_TASKS
        with self._database.transaction() as connection:
            untidy = tidying.untidy_tasks(
                connection,
                grace_seconds=settings.lease_seconds + settings.audit_grace_seconds,
                keep_failed_seconds=settings.keep_failed_seconds + settings.audit_grace_seconds,
                limit=None,
            )
            untrimmed = tidying.untrimmed_tasks(
                connection, trim_seconds=settings.trim_seconds + settings.audit_grace_seconds, limit=None
            )
        for tasks, see_to in ((untidy, clear), (untrimmed, cut)):
            for task_id in tasks:
                if kind in self._repair:
                    see_to(self._services, task_id)
                self.findings.add(kind, f"task {task_id}", repaired=kind in self._repair)

    def _removals(self) -> None:
        kind, grace = Kind.UNFINISHED_REMOVALS, self._settings.audit_grace_seconds
        for page in differences.suspected_removals(self._connection, grace_seconds=grace):
            for document_id in page:
                # Asked again in the transaction that repairs: a person may have begun it meanwhile.
                with self._database.transaction() as connection:
                    now = differences.unfinished_removal(connection, document_id, grace_seconds=grace)
                    if now is None:
                        continue
                    if kind in self._repair:
                        repairs.remove_again(
                            connection, document_id, self._removal, user_id=now.user_id, asked=now.asked
                        )
                self.findings.add(kind, f"document {document_id}", repaired=kind in self._repair)

    def _missing_objects(self) -> None:
        kind = Kind.MISSING_OBJECTS
        repair = kind in self._repair
        suspected, arrived = differences.count_suspected(self._connection)
        if repair and suspected > max(_FEW, arrived / 2):
            repair = False
            self.findings.refuse(kind, "Most documents seem to have no object: is this the store that they came from?")
        for page in differences.suspected_documents(self._connection):
            for one in self._untold(page):
                if self._is_gone(one.bucket, one.key):
                    begun = repair and self._depart(one)
                    self.findings.add(kind, f"document {one.document_id}: {one.bucket}/{one.key}", repaired=begun)

    def _untold(self, suspected: Sequence[Lost]) -> Sequence[Lost]:
        """Those that still show when the store has had time to tell of their removal, which it does within seconds."""
        until = self._listed_at + self._settings.audit_settle_seconds
        while True:
            with self._database.transaction() as connection:
                suspected = differences.live(connection, suspected)
            if not suspected or time.monotonic() >= until:
                return suspected
            time.sleep(_SETTLE_SECONDS)

    def _is_gone(self, bucket: str, key: str) -> bool:
        """Whether the store says so, and does not only refuse to tell."""
        return is_nameable(key) and isinstance(self._objects.ask(bucket, key), Gone)

    def _depart(self, lost: Lost) -> bool:
        reconciler = Reconciler(self._database, self._objects, self._upload, self._removal, grace_seconds=0)
        return reconciler.reconcile(lost.bucket, lost.key) is Outcome.REMOVED

    def _vectors(self) -> None:
        """Of the versions that show: each chunk has its vector, and there are no others."""
        for page in differences.suspected_vectors(self._connection):
            with self._database.transaction() as connection:
                expected = differences.expected_vectors(connection, page)
            within, beyond = self._count(expected)
            with self._database.transaction() as connection:
                showing = differences.expected_vectors(connection, list(expected))
            for version, (count, renewed) in showing.items():
                if within[version] < count and not renewed:
                    self._missing(version, within[version], count)
                if beyond[version]:
                    self._surplus(version, beyond[version], count)

    def _count(self, expected: Mapping[Version, tuple[int, bool]]) -> tuple[Counter[Version], Counter[Version]]:
        """How many vectors of these versions are there, and how many that should not be."""
        within: Counter[Version] = Counter()
        beyond: Counter[Version] = Counter()
        for page in self._index.chunks({document for document, _ in expected}) if expected else ():
            for document, number, chunk in page:
                if (document, number) in expected:
                    count, _ = expected[document, number]
                    (within if chunk < count else beyond)[document, number] += 1
        return within, beyond

    def _missing(self, version: Version, found: int, count: int) -> None:
        words = f"document {version[0]} version {version[1]}: {found:,} of {count:,} vectors"
        renewed = self._renew(Kind.MISSING_VECTORS, version[0])
        self.findings.add(Kind.MISSING_VECTORS, words, count - found, repaired=renewed)

    def _surplus(self, version: Version, surplus: int, count: int) -> None:
        repaired = Kind.SURPLUS_VECTORS in self._repair
        if repaired:
            self._index.delete_chunks(*version, beyond=count)
        words = f"document {version[0]} version {version[1]}: {surplus:,} beyond its {count:,}"
        self.findings.add(Kind.SURPLUS_VECTORS, words, surplus, repaired=repaired)

    def _renew(self, kind: Kind, document_id: str) -> bool:
        if kind not in self._repair:
            return False
        with self._database.transaction() as connection:
            return repairs.renew(connection, document_id, self._upload)

    def _missing_artifacts(self) -> None:
        kind, renewed = Kind.MISSING_ARTIFACTS, set[str]()
        for page in differences.suspected_artifacts(self._connection, self._objects.bucket, read=READ_STEPS):
            gone = [one for one in page if self._is_gone(one.bucket, one.key)]
            with self._database.transaction() as connection:
                lost = differences.needed(connection, gone, read=READ_STEPS)
            for one in lost:
                if one.document_id not in renewed and self._renew(kind, one.document_id):
                    renewed.add(one.document_id)
                words = f"document {one.document_id}: {one.step} of task {one.task_id}"
                self.findings.add(kind, words, repaired=one.document_id in renewed)

    def _orphans(self) -> None:
        kind, grace = Kind.ORPHAN_VECTORS, self._settings.audit_grace_seconds
        for page in differences.suspected_orphans(self._connection, grace_seconds=grace):
            counts: Counter[Version] = Counter()
            for rows in self._index.chunks({document for document, _ in page}):
                counts.update((document, number) for document, number, _ in rows)
            # They stay what they are until this ends, so nothing is deleted that somebody has begun to need.
            with self._database.transaction() as connection:
                found = [one for one in differences.orphans(connection, page, grace_seconds=grace) if counts[one]]
                if kind in self._repair:
                    self._index.delete_each(found)
            for document_id, number in found:
                words = f"document {document_id} version {number}: {counts[document_id, number]:,} vectors"
                self.findings.add(kind, words, counts[document_id, number], repaired=kind in self._repair)

    def _strays(self) -> None:
        kind = Kind.STRAY_ARTIFACTS
        found = differences.strays(
            self._connection, self._objects.bucket, grace_seconds=self._settings.audit_grace_seconds
        )
        for page in found:
            for one in page:
                if kind in self._repair:
                    self._objects.delete_prefix(f"{_ARTIFACTS}{one.task_id}/", keep=self._kept(one))
                words = f"task {one.task_id}: {one.objects:,} objects"
                self.findings.add(kind, words, one.objects, repaired=kind in self._repair)

    def _kept(self, stray: Stray) -> frozenset[str]:
        if not stray.trimmed:
            return frozenset()
        with self._database.transaction() as connection:
            return tidying.kept(connection, stray.task_id)
