"""Files of recorded rows as cells: CSV as plants write it, NDJSON, Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from service.errors import MalformedBody, UnsupportedMediaType

#: Columns stand apart by one of these; the first that is in the first line.
_SEPARATORS: Final = ("\t", ";", ",", "|")
Cells = tuple[str, Sequence[Any]]


@dataclass(slots=True)
class Table:
    """A file that is being read.

    Attributes:
        header: names of the columns; empty where the file has none, and then the first row
            stands among the others.
        rows: each with the words that name its place, for messages.
        separator: of columns; empty where the kind of file has none.
        done: share of the file that has been read, 0 to 1.
    """

    header: list[str]
    rows: Iterator[Cells]
    separator: str = ""
    done: float = 0.0


@contextmanager
def opened(path: Path) -> Iterator[Table]:
    """A file that is being read, and closed at the end.

    Raises:
        MalformedBody: the file is not what its name says, or empty. So may reading rows.
        UnsupportedMediaType: another kind of file.
    """
    readers = {
        ".csv": _csv, ".tsv": _csv, ".txt": _csv, ".ndjson": _lines, ".jsonl": _lines,
        ".parquet": _parquet,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnsupportedMediaType(
            f"{path}: wanted .csv (.tsv, .txt), .ndjson (.jsonl) or .parquet."
        )
    with ExitStack() as closing:
        yield reader(path, closing.enter_context(path.open("rb")), closing)


def _csv(path: Path, raw: BufferedReader, closing: ExitStack) -> Table:
    head = raw.read(4)
    raw.seek(0)
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))  # as spreadsheets save "Unicode text"
    encoding = "utf-16" if wide else "utf-8-sig"
    file = closing.enter_context(TextIOWrapper(raw, encoding, newline=""))
    table = Table([], iter(()))
    try:
        first = file.readline()
        while first and not first.strip():
            first = file.readline()
        if first.lower().startswith("sep="):  # spreadsheets say their separator so
            table.separator = first.rstrip("\r\n")[4:5]
            first = file.readline()
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    if not table.separator:
        table.separator = next((one for one in _SEPARATORS if one in first), ",")
    # The rest of the file behind the line that was read: text files cannot seek so far back.
    lines = csv.reader(chain([first], file), delimiter=table.separator, strict=True)
    size = max(1, path.stat().st_size)

    def rows() -> Iterator[Cells]:
        try:
            for number, cells in enumerate(lines):
                if number % 1024 == 0:
                    table.done = raw.tell() / size
                if any(map(str.strip, cells)):
                    yield f"line {lines.line_num}", cells
        except csv.Error as error:
            raise MalformedBody(f"{path}: line {lines.line_num}: not CSV ({error}).") from None
        except UnicodeDecodeError:
            raise _not_utf8(path) from None

    table.rows = rows()
    first_row = next(table.rows, None)
    if first_row is None:
        raise MalformedBody(f"{path}: has no rows.")
    names = [cell.strip() for cell in first_row[1]]
    table.rows = _even(path, names, first_row, table)
    return table


def _not_utf8(path: Path) -> MalformedBody:
    return MalformedBody(
        f"{path}: not CSV in UTF-8. Save it as 'CSV UTF-8', or: iconv -f cp1252 -t utf-8."
    )


def _even(path: Path, names: list[str], first: Cells, table: Table) -> Iterator[Cells]:
    """Rows that are as long as the first, which is the header unless it holds numbers."""
    rest = table.rows
    if any(_is_number(name) for name in names):
        rest = chain([first], rest)
    else:
        twice = sorted({name for name in names if names.count(name) > 1 and name})
        if twice:
            raise MalformedBody(f"{path}: columns stand twice: {', '.join(twice)}. Rename one.")
        table.header = names
    return _checked(path, len(names), table.separator, rest)


def _checked(path: Path, wanted: int, separator: str, rows: Iterator[Cells]) -> Iterator[Cells]:
    for place, cells in rows:
        if len(cells) != wanted:
            said = {"\t": "a tab", ",": "a comma"}.get(separator, f"'{separator}'")
            raise MalformedBody(
                f"{path}: {place}: {len(cells)} cells, {said} between them, and {wanted} columns "
                "in the first line."
                + (" Numbers with a comma want ; between columns." if separator == "," else "")
            )
        yield place, cells


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _lines(path: Path, file: BufferedReader, _: ExitStack) -> Table:
    table = Table([], iter(()))
    size = max(1, path.stat().st_size)

    def objects() -> Iterator[tuple[str, dict[str, Any]]]:
        read = 0
        for number, line in enumerate(file, start=1):
            read += len(line)
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise MalformedBody(f"{path}: line {number}: not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise MalformedBody(f"{path}: line {number}: wanted an object.")
            table.done = read / size
            yield f"line {number}", row

    rows = objects()
    first = next(rows, None)
    if first is None:
        raise MalformedBody(f"{path}: has no rows.")
    names = table.header = list(first[1])

    def cells() -> Iterator[Cells]:
        for place, row in chain([first], rows):
            yield place, [row.get(name) for name in names]

    table.rows = cells()
    return table


def _parquet(path: Path, raw: BufferedReader, _: ExitStack) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UnsupportedMediaType(
            f"{path}: Parquet needs a package that is not installed: pip install "
            "'glassline[batch]'. Or write the rows as .csv."
        ) from None
    try:
        file = parquet.ParquetFile(raw)
    except ArrowException as error:
        raise MalformedBody(f"{path}: not Parquet ({error}).") from None
    table = Table(file.schema_arrow.names, iter(()))
    size = file.metadata.num_rows
    if not size:
        raise MalformedBody(f"{path}: has no rows.")

    def rows() -> Iterator[Cells]:
        number = 0
        for batch in file.iter_batches():
            table.done = number / size
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                yield f"row {number}", cells
                number += 1

    table.rows = rows()
    return table
