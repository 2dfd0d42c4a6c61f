"""XLS, workbooks from before 2007, by calamine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import chain
from pathlib import Path

import python_calamine

from common.records import Page
from functions.extractors import Options, packages
from functions.extractors.tables import rows
from functions.pieces import Piece, in_records

_ERRORS = (
    *(python_calamine.CalamineError, python_calamine.XmlError, python_calamine.ZipError),
    python_calamine.WorksheetNotFound,
)


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A page for each sheet: its name, then its rows with their headers; dates as ISO 8601 has them.

    A sheet of that time has 65,536 rows of 256 columns, so that its grid fits in what an extraction may use. Raises
    `Rejected` with FILE_DAMAGED, PASSWORD_PROTECTED or TOO_MANY_PAGES.
    """
    try:
        with path.open("rb") as file:
            book = python_calamine.load_workbook(file)
            sheets = [sheet for sheet in book.sheets_metadata if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet]
            options.demand(pages=len(sheets))
            for number, sheet in enumerate(sheets, start=1):
                cells = book.get_sheet_by_name(sheet.name).iter_rows()
                texts = rows(([_shown(value) for value in row] for row in cells), has_header=None)
                yield from in_records(chain([Piece(sheet.name, "heading", 1)], texts), number)
    except python_calamine.PasswordError as error:
        raise packages.locked(options) from error
    except _ERRORS as error:
        raise packages.damaged(options, "an Excel workbook") from error


def _shown(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).upper()
        case float():
            # Fifteen digits are what Excel knows; the rest is noise of its arithmetic.
            return f"{value:.15g}"
        case datetime():
            return value.isoformat(" ", "seconds")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
    return str(value)
