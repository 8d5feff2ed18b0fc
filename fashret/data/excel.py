"""Reading of Excel workbooks, by openpyxl."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from fashret.data.preparation_report import Report
from fashret.errors import DataError

_ZEROS = re.compile(r"0+")
"""A number format that shows leading zeros, as of ids: 00000."""


def read_sheet(path: Path, report: Report, *, key: str) -> Iterator[tuple[str, list[Any]]]:
    """Read the rows of a workbook's table: its first sheet with two rows that have something.

    Args:
        path: path of the .xlsx or .xlsm file.
        report: gets a warning if other sheets have rows too, and counts cells with an error.
        key: config key of the file, for messages.

    Yields:
        File, sheet and row, for messages; and the values of the row, from the names of the columns
        on: dates as 2026-01-31, whole numbers with the zeros that their format puts in front, other
        numbers as they are stored, None for an empty cell. Rows without a value are left out.

    Raises:
        DataError: openpyxl is not installed, or the file cannot be read or has no table.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as e:
        raise DataError(
            f"{key}={path}: Excel files need another package (openpyxl): pip install "
            '"fashret[excel]", or save the table as CSV'
        ) from e
    try:
        tables = {}
        with closing(load_workbook(path, read_only=True, data_only=True)) as book:
            for sheet in book.worksheets:
                rows = list(_rows(sheet, path, report))
                if len(rows) > 1:
                    tables[sheet.title] = rows
    except (InvalidFileException, BadZipFile, ParseError, KeyError, ValueError, OSError) as e:
        raise DataError(f"{key}={path} cannot be read as an Excel workbook: {e}") from e
    if not tables:
        raise DataError(f"{key}={path} has no sheet with names of columns and a row below them")
    name, *others = tables
    if others:
        report.warn(
            f"{path.name}: the sheet {name} is read, {', '.join(others)} not; to read another, "
            "save it as a file of its own"
        )
    yield from tables[name]


def _rows(sheet: Any, path: Path, report: Report) -> Iterator[tuple[str, list[Any]]]:
    sheet.reset_dimensions()  # of another program, the range that a sheet states may be wrong
    for number, row in enumerate(sheet.iter_rows(), start=1):
        where = f"{path.name} {sheet.title} row {number}"
        values = [_value(cell, where, report) for cell in row]
        if any(value not in (None, "") for value in values):
            yield where, values


def _value(cell: Any, where: str, report: Report) -> Any:
    """The value of a cell."""
    value = cell.value
    if cell.data_type == "e":
        report.repair("cell with an error: empty", f"{where}: {value}")
        return None
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, int) and _ZEROS.fullmatch(str(cell.number_format or "")):
        return str(value).zfill(len(cell.number_format))
    return value
