"""Read the tables that users have: CSV, TSV, JSON lines, parquet."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from fashret.data.report import Report
from fashret.errors import DataError

_DELIMITERS = ",;\t|"
_JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *_JSON_LINES, ".parquet")
"""The endings of the files that are read, in any case."""

_PHOTO_NAME = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|avif)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A table as it was written.

    Attributes:
        columns: the names of its columns.
        rows: where each row stands ("items.csv line 5"), and its values by column. Texts of a CSV
            stay as they are, "NA" and "007" too; other files keep their types, with None for null.
    """

    columns: Sequence[str]
    rows: Iterable[tuple[str, Mapping[str, Any]]]


def read_table(
    path: Path,
    report: Report,
    *,
    key: str,
    encoding: str | None = None,
    columns: Sequence[str] | None = None,
) -> Table:
    """Read a table.

    Args:
        path: the file; its ending says what it is.
        report: counts the rows whose fields had to be repaired.
        key: the config key that names the file, for messages.
        encoding: of a text file; None for UTF-8, or UTF-16 with its byte order mark.
        columns: those that the rows of a parquet file need to hold; None for all.

    Raises:
        DataError: it cannot be read as what its ending says.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(path, columns)
        if suffix in _JSON_LINES:
            return _json_lines(path, _text_of(path, key, encoding))
        if suffix in SUFFIXES:
            return _delimited(path, _text_of(path, key, encoding), report)
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{key}={path} cannot be read: {e}") from e
    raise DataError(f"{key}={path} has none of the endings {', '.join(SUFFIXES)}")


def as_text(value: object, column: str, where: str) -> str:
    """Return a cell as text: "" where it is missing, whole numbers without a decimal point.

    Raises:
        DataError: the cell holds no single value, but a list, a mapping or bytes.
    """
    if value is None or value != value:  # NaN, the only value that differs from itself
        return ""
    if isinstance(value, list | tuple | dict | set | bytes):
        kind = {"tuple": "list", "dict": "mapping"}.get(type(value).__name__, type(value).__name__)
        raise DataError(
            f"{where}: column {column} holds a {kind}, and a text or a number is needed: write one "
            "value into each cell, or leave the column out"
        )
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _text_of(path: Path, key: str, encoding: str | None) -> str:
    """Decode a text file."""
    encoded = path.read_bytes()
    if encoding is None:
        utf16 = encoded.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        return encoded.decode(encoding)
    except LookupError as e:
        raise DataError(f"data.encoding={encoding}: there is no such encoding") from e
    except UnicodeError as e:
        line = encoded[: getattr(e, "start", 0)].count(b"\n") + 1
        raise DataError(
            f"{key}={path} is not {encoding.removesuffix('-sig').upper()} (line {line}): save it "
            "as UTF-8, or name its encoding, such as data.encoding=cp1252 for a file from Windows"
        ) from e


@dataclass(frozen=True)
class _ParquetRows:
    """The rows of a parquet file, a part in memory at a time."""

    path: Path
    labels: Mapping[str, ClassLabel]
    columns: Sequence[str]

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        number = 0
        for batch in pq.ParquetFile(self.path).iter_batches(columns=list(self.columns)):
            for row in batch.to_pylist():
                number += 1
                named = {name: label_name(row[name], label) for name, label in self.labels.items()}
                yield f"{self.path.name} row {number}", row | named


def _parquet(path: Path, columns: Sequence[str] | None) -> Table:
    schema = pq.read_schema(path)
    names = [name for name in schema.names if columns is None or name in columns]
    written_by_datasets = b"huggingface" in (schema.metadata or {})
    features = Features.from_arrow_schema(schema) if written_by_datasets else {}
    labels = {n: f for n, f in features.items() if n in names and isinstance(f, ClassLabel)}
    return Table(schema.names, _ParquetRows(path, labels, names))


def label_name(value: Any, label: ClassLabel) -> str | None:
    """Return the name of a class label of the `datasets` library; None for no label (null, -1)."""
    return None if value is None or value == -1 else str(label.int2str(value))


def _json_lines(path: Path, text: str) -> Table:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            row = json.loads(line)
        except ValueError as e:
            raise DataError(f"{where} is not JSON: {e}; a line must hold one object") from e
        if not isinstance(row, dict):
            raise DataError(f"{where} holds a {type(row).__name__}: a line must hold one object")
        columns |= dict.fromkeys(row)
        rows.append((where, row))
    return Table(list(columns), rows)


def _delimited(path: Path, text: str, report: Report) -> Table:
    """Parse a CSV or TSV, whichever delimiter and rules of quoting it has."""
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(first)
    try:
        records = list(_records(path, text, delimiter, csv.QUOTE_MINIMAL))
    except DataError:
        # Many files do not quote at all, so that a quotation mark is a character like others.
        records = list(_records(path, text, delimiter, csv.QUOTE_NONE))
        width = len(records[0][1])
        if any(len(_trimmed(fields, width)) != width for _, fields in records):
            raise
        report.note(f"{path.name} does not quote its fields: quotation marks are part of the text")
    if not records:
        raise DataError(f"{path} is empty: its first line should name the columns")
    header = [name.strip() for name in records[0][1]]
    while header and not header[-1]:
        header.pop()
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several columns of the name {', '.join(twice)}")
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
    return Table([name for name in header if name], rows)


def _delimiter(header: str) -> str:
    """The delimiter that parts a header into the most columns, a comma if several do."""
    return max(_DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _records(
    path: Path, text: str, delimiter: str, quoting: Literal[0, 3]
) -> Iterator[tuple[str, list[str]]]:
    """The records of a file, and where each begins; blank lines are left out.

    Raises:
        DataError: quotation marks do not match, so that rows would become part of a field.
    """
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=quoting, strict=True, skipinitialspace=True
    )
    begin, width = 1, 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            raise _open_quote(path, begin, reader.line_num, str(e)) from e
        end = reader.line_num
        inner = lines[begin:end] if end > begin else []
        if inner and any(_is_row(line, delimiter, width) for line in inner):
            raise _open_quote(path, begin, end, "lines that look like rows of their own")
        width = width or len(fields)
        if any(field.strip() for field in fields):
            yield f"{path.name} line {begin}", fields
        begin = end + 1


def _is_row(line: str, delimiter: str, width: int) -> bool:
    """Whether a line within a quoted field looks like a whole row that names a photo."""
    fields = line.strip().split(delimiter)
    return len(fields) >= width and any(_PHOTO_NAME.search(field) for field in fields)


def _open_quote(path: Path, begin: int, end: int, why: str) -> DataError:
    return DataError(
        f"{path} line {begin}: a quotation mark opens a field that does not end where it should, "
        f"and goes on to line {end} ({why}). Close the quotation mark, or write a quotation mark "
        'within a quoted text twice ("")'
    )


def _trimmed(fields: list[str], width: int) -> list[str]:
    """A record without empty fields behind the last column."""
    while len(fields) > width and not fields[-1].strip():
        fields = fields[:-1]
    return fields
