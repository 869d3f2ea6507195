"""Rows of streams as they stand in JSON, NDJSON and CSV: bytes to objects, nothing checked yet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from service.errors import MalformedBody

#: Cells of CSV in which nothing was measured.
_GAPS: Final = frozenset({"", "nan", "na", "null"})


def of_json(body: bytes) -> tuple[list[Any], bool | None]:
    """One row, a list of rows, or `{"rows": [...]}`; and whether they are said to be history.

    Raises:
        MalformedBody: it is none of them.
    """
    if not body.strip():
        return [], None
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"rows: not JSON ({error}).{_numbers_of_json(body)}") from None
    if isinstance(said, list):
        return said, None
    if not isinstance(said, dict):
        raise MalformedBody('rows: wanted {"rows": [...]}, a list of rows, or one row.')
    if "rows" not in said:
        historical = said.pop("is_historical", None)
        return [said], _flag(historical)
    unknown = said.keys() - {"rows", "is_historical"}
    if unknown or not isinstance(said["rows"], list):
        raise MalformedBody(
            f"rows: got {', '.join(sorted(unknown))[:80] or 'no list'}; wanted "
            '{"rows": [...], "is_historical": false}.'
        )
    return said["rows"], _flag(said.get("is_historical"))


def _flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise MalformedBody(f"rows: is_historical: got {str(value)[:40]!r}, wanted true or false.")
    return value


def of_lines(body: bytes) -> list[Any]:
    """A row from each line that is not empty.

    Raises:
        MalformedBody: a line is no JSON.
    """
    objects = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            try:
                objects.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise MalformedBody(
                    f"rows: line {number}: not JSON ({error.msg} at character {error.pos})."
                    f"{_numbers_of_json(line)}"
                ) from None
    return objects


def _numbers_of_json(text: bytes) -> str:
    """What is to be sent instead of the numbers that JSON has not; empty where there is none."""
    if b"NaN" not in text and b"Infinity" not in text:
        return ""
    return " JSON has no NaN and no Infinity: send null where nothing was measured."


def of_csv(body: bytes) -> Iterator[dict[str, Any]]:
    """A row from each line under the header; cells are numbers, or None where they are empty.

    Raises:
        MalformedBody: not UTF-8, no header with a time, or a line that does not fit it.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"rows: not UTF-8 ({error.reason} at byte {error.start}).") from None
    try:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(lines, [])
        if "time" not in header or len(set(header)) != len(header):
            raise MalformedBody(
                f"rows: header: got {','.join(header)[:80]!r}, wanted each column once, 'time' "
                "among them, with commas between them."
            )
        for line in lines:
            if line:
                yield _named(header, line, lines.line_num)
    except csv.Error as error:
        raise MalformedBody(f"rows: not CSV ({error}).") from None


def _named(header: Sequence[str], line: Sequence[str], number: int) -> dict[str, Any]:
    if len(line) != len(header):
        raise MalformedBody(f"rows: line {number}: {len(line)} cells under {len(header)} columns.")
    return {
        name: cell if name in ("time", "stream") else _cell(cell)
        for name, cell in zip(header, line, strict=True)
    }


def _cell(text: str) -> Any:
    """A number, None where nothing was measured; the text itself where it is no number."""
    if text.strip().lower() in _GAPS:
        return None
    try:
        return float(text) if "_" not in text else text
    except ValueError:
        return text
