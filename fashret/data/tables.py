"""Reading of users' tables: CSV, TSV, JSON lines, parquet, Excel."""

import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from fashret.data.excel import read_sheet
from fashret.data.preparation_report import Report
from fashret.errors import DataError

_DELIMITERS = ",;\t|"
_JSON_LINES = (".jsonl", ".ndjson")
_EXCEL = (".xlsx", ".xlsm")
SUFFIXES = (".csv", ".tsv", *_JSON_LINES, ".parquet", *_EXCEL)
"""The endings of the files that are read, in any case."""

_UNREADABLE = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged, cut off or encrypted file raises."""

_QUOTED = re.compile(r'\s*".*"\s*', re.DOTALL)
_SEPARATOR = re.compile(r"sep=([,;|\t])", re.IGNORECASE)
csv.field_size_limit(2**31 - 1)  # a description may be long


@dataclass(frozen=True)
class Table:
    """A table with its values as they were written.

    Attributes:
        columns: names of the columns.
        texts: names of the columns that may contain texts.
        rows: position of each row ("items.csv line 5"), and its values by column. Texts of a CSV
            do not change, "NA" and "007" either; other files keep their types, with None for null.
    """

    columns: Sequence[str]
    texts: Sequence[str]
    rows: Iterable[tuple[str, Mapping[str, Any]]]


def read_table(
    path: Path,
    report: Report,
    *,
    key: str,
    encoding: str | None = None,
    columns: Sequence[str] | None = None,
    photos: Sequence[str] = ("image",),
) -> Table:
    """Read a table.

    Args:
        path: path of the file; its ending determines the format. Text files may be compressed: .gz,
            or the only table in a .zip.
        report: counts the rows whose fields had to be repaired.
        key: config key of the file, for messages.
        encoding: encoding of a text file; None for UTF-8, UTF-16 with its byte order mark, or else
            Windows-1252, with a warning.
        columns: names of the columns to read from a parquet file; None for all.
        photos: names that the column of photos may have: a line within a quoted text counts as a
            row of its own if its cell of this column looks like the others.

    Raises:
        DataError: the file cannot be read in the format of its ending.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet(path, columns)
        if path.suffix.lower() in _EXCEL:
            return _excel(path, report, key)
        name, encoded = _unpacked(path, key)
        suffix = Path(name).suffix.lower()
        if suffix in SUFFIXES and suffix not in (".parquet", *_EXCEL):
            text = _decoded(encoded, f"{key}={path}", encoding, report)
            if suffix in _JSON_LINES:
                return _json_lines(path, text)
            return _delimited(path, text, report, photos)
    except (*_UNREADABLE, pa.ArrowException) as e:
        raise DataError(f"{key}={path} cannot be read: {e}") from e
    hint = "; save it as .xlsx" if path.suffix.lower() in (".xls", ".ods") else ""
    raise DataError(
        f"{key}={path} has none of the endings {', '.join(SUFFIXES)}, nor .gz or .zip of a text "
        f"file{hint}"
    )


def as_text(value: object, column: str, where: str) -> str:
    """Return a cell as text: "" where it is missing, whole numbers without a decimal point.

    Raises:
        DataError: the cell is a list, a mapping or bytes, not a single value.
    """
    if value is None or value != value:  # NaN, the only value that differs from itself
        return ""
    if isinstance(value, list | tuple | dict | set | bytes):
        kind = {"tuple": "list", "dict": "mapping"}.get(type(value).__name__, type(value).__name__)
        raise DataError(
            f"{where}: column {column} contains a {kind}, but a text or a number is expected: "
            "write one value into each cell, or leave the column out"
        )
    if isinstance(value, float | Decimal) and value == int(value):
        return str(int(value))
    text = str(value).strip()
    # Half of a pair of surrogates, where a text was cut within a character, is no Unicode.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _unpacked(path: Path, key: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a file, or of the table that is packed in it."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return path.stem, gzip.decompress(path.read_bytes())
    if suffix != ".zip":
        return path.name, path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        tables = [
            name
            for name in packed.namelist()
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("__MACOSX")
        ]
        if len(tables) != 1:
            held = f"{len(tables)} tables ({', '.join(tables[:5])})" if tables else "no table"
            raise DataError(f"{key}={path} holds {held}: unpack it and name the one to read")
        return tables[0], packed.read(tables[0])


def _decoded(encoded: bytes, what: str, encoding: str | None, report: Report) -> str:
    """Decode the bytes of a text file."""
    given = encoding
    if given is None:
        utf16 = encoded.startswith((b"\xff\xfe", b"\xfe\xff"))
        given = "utf-16" if utf16 else "utf-8-sig"
    try:
        return encoded.decode(given).removeprefix("\ufeff")
    except LookupError as e:
        raise DataError(f"data.encoding={given}: there is no such encoding") from e
    except UnicodeError as e:
        line = encoded[: getattr(e, "start", 0)].count(b"\n") + 1
        name = given.removesuffix("-sig").upper()
        if encoding is not None or name != "UTF-8" or b"\0" in encoded:
            raise DataError(
                f"{what} is not {name} (line {line}): save it as UTF-8, or name its encoding, such "
                "as data.encoding=cp1252 for a file from Windows"
            ) from e
        report.warn(
            f"{what} is not UTF-8 (line {line}) and read as Windows-1252: if letters are wrong, "
            "name its encoding, data.encoding=<name>"
        )
        return encoded.decode("cp1252", errors="replace")


@dataclass(frozen=True)
class _ParquetRows:
    """The rows of a parquet file, a part in memory at a time."""

    path: Path
    labels: Mapping[str, ClassLabel]
    columns: Sequence[str]

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        number = 0
        try:
            for batch in pq.ParquetFile(self.path).iter_batches(columns=list(self.columns)):
                for row in _shortest(batch).to_pylist():
                    number += 1
                    named = {n: label_name(row[n], label) for n, label in self.labels.items()}
                    yield f"{self.path.name} row {number}", row | named
        except (OSError, ValueError, OverflowError, pa.ArrowException) as e:
            raise DataError(f"{self.path} cannot be read after row {number}: {e}") from e


def _shortest(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert 16- and 32-bit floats to the shortest decimals that round to them."""
    for number, name in enumerate(batch.schema.names):
        if batch.schema.field(number).type in (pa.float16(), pa.float32()):
            values = [None if v is None else float(str(v)) for v in batch[number].to_numpy(False)]
            batch = batch.set_column(number, name, pa.array(values, pa.float64()))
    return batch


def _parquet(path: Path, columns: Sequence[str] | None) -> Table:
    schema = pq.read_schema(path)
    _check_names(schema.names, path)
    names = [name for name in schema.names if columns is None or name in columns]
    features: Mapping[str, Any] = {}
    if b"huggingface" in (schema.metadata or {}):
        with suppress(ValueError):  # of a type that this version of datasets does not know
            features = Features.from_arrow_schema(schema)
    labels = {n: f for n, f in features.items() if n in names and isinstance(f, ClassLabel)}
    texts = [name for name in schema.names if name in labels or _holds_text(schema.field(name))]
    return Table(schema.names, texts, _ParquetRows(path, labels, names))


def _holds_text(field: pa.Field) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def label_name(value: Any, label: ClassLabel) -> str | None:
    """Return the name of a class label of the `datasets` library; None where it has none."""
    is_valid = value is not None and 0 <= value < label.num_classes
    return str(label.int2str(value)) if is_valid else None


def _json_lines(path: Path, text: str) -> Table:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise DataError(f"{where} is not JSON: {e}; a line must hold one object") from e
        if not isinstance(row, dict):
            raise DataError(f"{where} holds a {type(row).__name__}: a line must hold one object")
        columns |= dict.fromkeys(row)
        rows.append((where, row))
    if not rows:
        raise DataError(f"{path} is empty: each line should hold a JSON object")
    return Table(list(columns), list(columns), rows)


def _delimited(path: Path, text: str, report: Report, photos: Sequence[str]) -> Table:
    """Parse a CSV or TSV, whichever delimiter and rules of quoting it has."""
    lines = list(io.StringIO(text, newline=""))
    separator = _SEPARATOR.fullmatch(lines[0].strip()) if lines else None
    if separator is not None:  # a first line that Excel writes
        lines[0] = "\n"
    delimiter = separator[1] if separator else _delimiter(lines)
    try:
        records = list(_records(path, lines, delimiter, csv.QUOTE_MINIMAL, photos))
    except DataError:
        # Some files do not quote at all, so that a quotation mark is a character like others.
        records = list(_records(path, lines, delimiter, csv.QUOTE_NONE, photos))
        width = len(records[0][1])
        if any(
            len(_trimmed(fields, width)) != width or any(map(_QUOTED.fullmatch, fields))
            for _, fields in records
        ):
            raise
        report.note(f"{path.name} does not quote its fields: quotation marks are part of the text")
    if not records:
        raise DataError(f"{path} is empty: its first line should name the columns")
    header = [name.strip() for name in records[0][1]]
    while header and not header[-1]:
        header.pop()
    _check_names(header, path)
    rows = []
    for where, fields in records[1:]:
        kept = _trimmed(fields, len(header))
        if len(kept) > len(header):
            report.rows_in += 1
            report.drop("more fields than columns", f"{where}: {len(kept)} of {len(header)}")
            continue
        if len(fields) > len(header):
            report.repair("empty fields behind the last column", where)
        elif len(fields) < len(header):
            report.repair("fewer fields than columns: the last ones are empty", where)
            kept = [*kept, *[""] * (len(header) - len(kept))]
        rows.append((where, dict(zip(header, kept, strict=True))))
    columns = [name for name in header if name]
    return Table(columns, columns, rows)


def _excel(path: Path, report: Report, key: str) -> Table:
    (_, first), *rows = read_sheet(path, report, key=key)
    header = ["" if name is None else str(name).strip() for name in first]
    while header and not header[-1]:
        header.pop()
    _check_names(header, path)
    columns = [name for name in header if name]
    return Table(
        columns,
        columns,
        [
            (where, {n: v for n, v in zip_longest(header, row[: len(header)]) if n})
            for where, row in rows
        ],
    )


def _check_names(columns: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several columns of the name {', '.join(twice)}")


def _delimiter(lines: Sequence[str]) -> str:
    """Choose the delimiter that splits each of the first lines into the most fields, or a comma."""
    first = [line for line in lines if line.strip()][:20]

    def fields(mark: str) -> int:
        try:
            widths = [len(record) for record in csv.reader(first, delimiter=mark)]
        except csv.Error:
            return 1
        return min(widths[: max(1, len(widths) - 1)], default=1)  # the last may be cut off

    return max(_DELIMITERS, key=fields)


def _records(
    path: Path, lines: Sequence[str], delimiter: str, quoting: Literal[0, 3], photos: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the records of a file with their first lines; blank lines are left out.

    Raises:
        DataError: quotation marks do not match, so that rows would become part of a field.
    """
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=quoting, strict=True, skipinitialspace=True
    )
    begin, width, photo = 1, 0, -1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            raise _open_quote(path, begin, reader.line_num, str(e)) from e
        end = reader.line_num
        if width and 0 <= photo < len(fields):
            for line in lines[begin:end]:
                inner = line.strip().split(delimiter)
                if len(inner) == width and _shape(inner[photo]) == _shape(fields[photo]):
                    reason = "lines that look like rows of their own"
                    raise _open_quote(path, begin, end, reason)
        if any(field.strip() for field in fields):
            if not width:
                width = len(fields)
                names = [name.strip().casefold() for name in fields]
                held = [name.casefold() for name in photos if name.casefold() in names]
                photo = names.index(held[0]) if held else -1
            yield f"{path.name} line {begin}", fields
        begin = end + 1


def _shape(cell: str) -> str:
    """Reduce a cell to its pattern of letters and digits, which cells of one column share."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))


def _open_quote(path: Path, begin: int, end: int, why: str) -> DataError:
    return DataError(
        f"{path} line {begin}: a quotation mark opens a field that does not end where it should, "
        f"but continues to line {end} ({why}). Close the quotation mark, or write a quotation mark "
        'within a quoted text twice ("")'
    )


def _trimmed(fields: list[str], width: int) -> list[str]:
    """Remove empty fields after the last column from a record."""
    while len(fields) > width and not fields[-1].strip():
        fields = fields[:-1]
    return fields
