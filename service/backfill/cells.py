"""How a recorded file writes its times and numbers, as plants do: epochs, local time, commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from service.anomaly.times import microseconds
from service.errors import InvalidParameter, TensorMismatch

#: Cells that say that nothing was measured, in lower case.
MISSING: Final = frozenset({"", "nan", "na", "n/a", "#n/a", "#nv", "null", "none", "-", "--"})
#: Microseconds of one unit of a number that is a time, by the size of the number: seconds since
#: 1970 until the year 5138, else milliseconds, microseconds, nanoseconds.
_UNITS: Final = ((1e8, 1e11, 6), (1e11, 1e14, 3), (1e14, 1e17, 0), (1e17, 1e20, -3))
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d*)?")
_COMMA: Final = re.compile(r"[+-]?[\d.]*\d,\d+(?:[eE][+-]?\d+)?")
#: Day before month, as where dots stand between them.
_DOTTED: Final = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M")


@dataclass(frozen=True, slots=True)
class Form:
    """What is said of a file by whoever knows it; what is not said is told from the file.

    Attributes:
        time: its column of times, or several with `+` between them (`Date+Time`).
        time_format: of the times, as `strptime` has it.
        zone: where the clock of times without an offset stood (`Europe/Berlin`); None = UTC.
        decimal: `.` or `,`.
        columns: name of the column of a sensor, where it is another.
        missing: cells that say that nothing was measured, beside `MISSING`.
        truth: the column that says with a number above 0 where a fault is known to be.
    """

    time: str | None = None
    time_format: str | None = None
    zone: str | None = None
    decimal: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    truth: str | None = None


class Clock:
    """Reads times of a file, in its order.

    Args:
        form: of the file.

    Raises:
        InvalidParameter: there is no such zone.
    """

    def __init__(self, form: Form) -> None:
        self._format = form.time_format
        self._zone: tzinfo = UTC
        self._before: int | None = None
        if form.zone is not None:
            try:
                self._zone = ZoneInfo(form.zone)
            except (KeyError, ValueError, OSError):
                raise InvalidParameter(
                    f"--zone: got '{form.zone}', wanted a name such as Europe/Berlin or UTC."
                ) from None

    def read(self, cell: Any) -> int:
        """Microseconds since 1970.

        Raises:
            ValueError: it is no moment; says why.
        """
        if isinstance(cell, datetime):
            return self._aware(cell)
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            return _epoch(repr(cell))
        if not isinstance(cell, str):
            raise ValueError("it is no text and no number")
        text = cell.strip()
        if self._format is not None:
            return self._aware(datetime.strptime(text, self._format))
        number = text.replace(",", ".")
        if _NUMBER.fullmatch(number) and len(number.partition(".")[0]) >= 9:
            return _epoch(number)
        return self._aware(_moment(text))

    def _aware(self, moment: datetime) -> int:
        if moment.tzinfo is not None:
            return microseconds(moment)
        at = microseconds(moment.replace(tzinfo=self._zone))
        # The hour that a clock goes through twice in autumn: what comes later is the second one.
        if self._before is not None and at <= self._before:
            second = microseconds(moment.replace(tzinfo=self._zone, fold=1))
            at = second if second > self._before else at
        self._before = at
        return at


def _epoch(text: str) -> int:
    number = Decimal(text)
    for least, most, power in _UNITS:
        if least <= abs(number) < most:
            return round(number.scaleb(power))
    raise ValueError("as a number it is no time since 1970 in s, ms, us or ns")


def _moment(text: str) -> datetime:
    if "." in text[1:3] and text[:1].isdigit():
        for form in _DOTTED:
            try:
                return datetime.strptime(text, form)
            except ValueError:
                continue
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "say how it is written with --time-format, as in '%m/%d/%Y %I:%M:%S %p'"
        ) from None


def numbers(form: Form, sample: Iterable[str], separator: str) -> Callable[[Any], float]:
    """What reads the cells of a file: a number, NaN where nothing was measured.

    Args:
        form: of the file.
        sample: some cells of sensors.
        separator: of its columns: where that is a comma, no number has one.

    Raises:
        InvalidParameter: the decimal separator is none.
    """
    if form.decimal not in (None, ".", ","):
        raise InvalidParameter(f"--decimal: got '{form.decimal}', wanted . or a comma.")
    comma = form.decimal == "," or (
        form.decimal is None
        and separator != ","
        and any(_COMMA.fullmatch(cell.strip()) for cell in sample)
    )
    missing = MISSING | {text.strip().lower() for text in form.missing}

    def read(cell: Any) -> float:
        if cell is None:
            return float("nan")
        if isinstance(cell, str):
            cell = cell.strip()
            if cell.lower() in missing:
                return float("nan")
            if comma:
                cell = cell.replace(".", "").replace(",", ".")
        if isinstance(cell, bool) or "_" in str(cell):
            raise ValueError
        value = float(cell)
        if abs(value) > 3.4e38:
            raise ValueError
        return value

    return read


def refused(where: str, what: str, cell: Any, why: str) -> TensorMismatch:
    """What is said of a cell that cannot be read."""
    return TensorMismatch(f"{where}: {what}: got {str(cell)[:40]!r}, {why}.")
