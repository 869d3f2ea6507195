"""What a search finds, as a table in one file: CSV or Parquet, written a page at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from service.audit import search
from service.errors import NotAcceptable

if TYPE_CHECKING:
    from sqlalchemy import Select

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
#: A spreadsheet takes a cell that begins so for a formula, and request ids are anybody's words.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Rows(Protocol):
    """What is asked of the record store."""

    def rows(self, query: Select[Any]) -> list[Any]:
        """All rows of a query."""


def pages(store: Rows, query: search.Query) -> Iterator[list[dict[str, Any]]]:
    """All that a search finds that was there when it began, at most 1,000 records at a time.

    A page is asked for once the one before was taken, so that nothing is held in memory, and
    what is written meanwhile is left out: with the oldest first it would never end.

    Raises:
        Unavailable: the database does not answer.
    """
    last = store.rows(search.last_sequence())[0][0] or 0
    cursor = None
    while True:
        statement = search.statement(query, search.LARGEST_PAGE, cursor, last)
        rows = store.rows(statement)
        found = [search.shown(row) for row in rows[: search.LARGEST_PAGE]]
        yield found
        if len(rows) <= search.LARGEST_PAGE:
            return
        cursor = search.cursor_after(found[-1], query)


def csv_of(found: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    """CSV (RFC 4180) with a header, UTF-8, a chunk a page.

    Text that a spreadsheet would run as a formula is led by an apostrophe; Parquet has it as it is.
    """
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, search.COLUMNS)
    writer.writeheader()
    for page in found:
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in page)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def parquet_of(found: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    """Parquet, a row group a page; times are UTC in microseconds.

    Raises:
        NotAcceptable: pyarrow is not installed here.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise NotAcceptable(
            "search: Parquet needs pyarrow, which is not installed where the server runs. Ask for "
            "CSV, or have the operator install it: pip install 'glassline[batch]'"
        ) from None
    kinds = {"sequence": pa.int64(), "score": pa.float64(), "created_at": pa.timestamp("us", "UTC")}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in search.COLUMNS])
    return _parquet(found, schema, pa, parquet)


def _parquet(
    found: Iterator[list[dict[str, Any]]], schema: Any, pa: Any, parquet: Any
) -> Iterator[bytes]:
    written = _Written()
    with parquet.ParquetWriter(pa.PythonFile(written, mode="w"), schema) as writer:
        for page in found:
            rows = [_timed(row) for row in page]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            yield written.taken()
    yield written.taken()


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "created_at": datetime.fromisoformat(row["created_at"])}


class _Written:
    """A file that is given away as it is written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        self._size += len(content)
        return len(content)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content
