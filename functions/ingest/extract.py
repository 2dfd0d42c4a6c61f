"""EXTRACT_TEXT: a validated object to the text of its pages."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from common import confinement, disk
from common.context import Context
from common.errors import DiskFull, Rejected
from common.jail import Limits
from common.records import Page, Source
from common.services import Services
from common.settings import Settings
from functions.converters import CONVERTERS, converter
from functions.extractors import FORMATS, TEXT, Options
from functions.ingest import members, scans
from functions.ingest.scans import Readings, Scan

log = structlog.get_logger()

# The zygote imports it; here it would bring every parser into the worker.
_TARGET = "functions.extractors.jailed:extract"
_UNFOLD = "functions.extractors.jailed:unfold"
# A record has 50,000 characters (functions/pieces.py), of six bytes at most as JSON.
_LINE_BYTES = 1 << 20
# What stands around members in their file: 10,000 paths, and a piece of one that turns out too large.
_FRAMES_BYTES = 64 << 20
_WORK = re.compile(r"brigade-extract-(\d+)-")


def extract(ctx: Context, source: Source) -> Iterator[Page]:
    """The document's pages, read by its format's extractor in a child process with limits.

    Pages whose text can only be seen are read by OCR. Notes pages, characters, media_type, what the extractor says,
    `ocr_pages`, `unread_pages` and `unread_because` (functions/ingest/scans.py). Raises `Rejected` with NO_TEXT, with
    the extractor's codes, or with the budget that the document exceeded (EXTRACT_TIMEOUT, _CPU, _MEMORY, _OUTPUT,
    _CRASHED, TOO_MANY_PAGES, TEXT_TOO_LONG); `DiskFull` where the child found the disk so. What is in an archive or
    e-mail follows its pages, as objects of their own (functions/ingest/members.py).
    """
    settings, kind = ctx.services.settings, FORMATS[source.media_type]
    with _work(settings) as directory:
        document, pages = Path(directory, "document"), Path(directory, "pages")
        room = members.room_for(ctx, kind)
        options = {"media_type": source.media_type, "name": source.name, **budgets(settings), **members.options(room)}
        ctx.services.objects.download(source.pin, document, ctx.check_cancelled)
        ctx.check_cancelled()
        if source.media_type in CONVERTERS:
            document = _convert(ctx, source, document, Path(directory, "converted"))
        details = _read(ctx.services, document, pages, options, ctx.check_cancelled)
        readings = _read_scans(ctx, source, document, details)
        if not kind.has_members:
            document.unlink()
        yield from scans.merged(_records(pages), readings, _records)
        if kind.has_members or room.has_any:
            told, frames = _unfold(ctx, document, Path(directory, "members"), options, unfolds=kind.has_members)
            members.keep(ctx, frames, told, room)


def _convert(ctx: Context, source: Source, document: Path, converted: Path) -> Path:
    program, data = converter(source.media_type, source.name)
    given = limits(ctx.services.settings)
    ctx.services.jail.run_program(
        program, input=document, output=converted, data=data, limits=given, check=ctx.check_cancelled
    )
    document.unlink()
    return converted


def _unfold(
    ctx: Context, document: Path, frames: Path, options: Mapping[str, Any], *, unfolds: bool
) -> tuple[dict[str, Any], Path]:
    """The members in frames, and how many. Of what has none any more, none."""
    if not unfolds:
        frames.touch()
        return {"members": 0, "bytes": 0}, frames
    given = limits(ctx.services.settings)
    most = ctx.services.settings.max_members_bytes + _FRAMES_BYTES
    told = ctx.services.jail.run(
        _UNFOLD,
        input=document,
        output=frames,
        options=options,
        limits=msgspec.structs.replace(given, output_bytes=most),
        check=ctx.check_cancelled,
    )
    return told, frames


def _read_scans(ctx: Context, source: Source, document: Path, details: dict[str, Any]) -> Readings:
    """Have read what can only be seen, and note what is known of the document then. Raises NO_TEXT if that is none."""
    found = [Scan(*scan) for scan in details.pop("scans", ())]
    blank = details.pop("blank")
    readings = scans.read(ctx, source, document, found, budgets(ctx.services.settings)) if found else Readings()
    details["characters"] += readings.gained
    Options(source.name, **budgets(ctx.services.settings)).demand(characters=details["characters"])
    ctx.note(media_type=source.media_type, **details, **readings.notes())
    if blank and not readings.characters:
        # OCR that is missing is no fault of the document's.
        failures = [refusal for refusal in readings.missed.values() if refusal.code != scans.MISSING]
        if failures and not readings.files:
            raise failures[0]
        raise Rejected(_no_text(ctx, source, details["pages"], found), code="NO_TEXT")
    return readings


def _records(pages: Path) -> Iterator[Page]:
    """What the child wrote, which is believed as little as the document."""
    decoder = msgspec.json.Decoder(Page)
    with pages.open("rb") as lines:
        while line := lines.readline(_LINE_BYTES):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError:
                raise Rejected(
                    "Reading this file failed: what its reader wrote makes no sense.", code="EXTRACT_CRASHED"
                ) from None


def warm_up(services: Services) -> None:
    """Start the jail and import its parsers: the first document would wait half a second for them.

    Logs what of the jail's protections this kernel has.
    """
    log.info("jail.protections", **confinement.protections())
    try:
        with disk.translated(), _work(services.settings) as directory:
            document = Path(directory, "document")
            document.write_text("x")
            options = {"media_type": TEXT.media_type, "name": "warm up", **budgets(services.settings)}
            _read(services, document, Path(directory, "pages"), options, lambda: None)
    except DiskFull as error:
        log.warning("jail.cold", reason=error.message)


def clear_stale(work_dir: Path) -> None:
    """Remove what workers that were killed left behind. For a worker that starts, before its first document."""
    for directory in work_dir.glob("brigade-extract-*"):
        owner = _WORK.match(directory.name)
        if owner and not _is_at_work(int(owner[1])):
            # Another worker that starts may be faster.
            shutil.rmtree(directory, ignore_errors=True)


def _is_at_work(pid: int) -> bool:
    # In a container, a worker that starts again has the number that the killed one had.
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        # Workers run as one user: a process that is not ours has only been given the number.
        return False
    return True


def _work(settings: Settings) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"brigade-extract-{os.getpid()}-", dir=settings.work_dir)


def _read(
    services: Services, document: Path, pages: Path, options: Mapping[str, Any], check: Callable[[], None]
) -> dict[str, Any]:
    return services.jail.run(
        _TARGET, input=document, output=pages, options=options, limits=limits(services.settings), check=check
    )


def budgets(settings: Settings) -> dict[str, Any]:
    """What an extractor must keep to (functions/extractors/__init__.py), beside the child's `limits`."""
    return {
        "max_inflated_bytes": settings.max_inflated_bytes,
        "max_pages": settings.max_pages,
        "max_characters": settings.max_characters,
        "max_document_bytes": settings.max_document_bytes,
        "max_archive_entries": settings.max_archive_entries,
        "max_image_pixels": settings.max_image_pixels,
    }


def limits(settings: Settings) -> Limits:
    return Limits(
        wall_seconds=settings.extract_seconds,
        cpu_seconds=settings.extract_cpu_seconds,
        memory_bytes=settings.extract_memory_bytes,
        output_bytes=settings.extract_output_bytes,
    )


def _no_text(ctx: Context, source: Source, count: int, found: Sequence[Scan]) -> str:
    what = FORMATS[source.media_type].name
    pages = f"{count} pages" if count > 1 else "page"
    if found and (reason := scans.missing(ctx.services.settings)):
        return f"{source.name} is a {what} whose text, if it has any, can only be seen, and {reason}."
    if found:
        return f"{source.name} is a {what} without text: OCR found none on its {pages}."
    return f"{source.name} is a {what} without text: its {pages} hold only pictures or nothing at all."
