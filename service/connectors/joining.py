"""Single values of sensors put together to rows.

A fold over values in the order in which they came, with neither clock nor disk: time goes on by
the times of the values. The same values make the same rows, wherever the process was killed
between them, and no row is made twice.

Source: Akidau et al. 2015, "The dataflow model", sections 2.2 and 2.3 (event time, watermarks);
values of one time as one row: Telegraf's aggregator `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import orjson

from service.anomaly.times import SECOND, rfc3339
from service.connectors.config import Join

#: Rows of a stream that wait for values at a time; beyond, the oldest goes as it is.
OPEN: Final = 256
#: Rows that were made of which is known what they lacked: as many as a stream knows again.
REMEMBERED: Final = 64
Outcome = Literal["taken", "again", "late", "different"]


class Value(NamedTuple):
    """What one sensor said.

    Attributes:
        sensor: by the model's name.
        time: microseconds since 1970; None = it has none of its own.
        value: None = not measured.
    """

    sensor: str
    time: int | None
    value: float | None


class _Known(NamedTuple):
    time: int
    value: float | None


@dataclass
class Joiner:
    """What is known of one stream's values.

    Attributes:
        newest: latest time of a value; so far has time gone.
        closed: time of the last row; no other is made at or before it.
        open: rows that wait, by their time, each with its values by sensor.
        held: the last value of each sensor, where values are held.
        made: the last rows: time, and the sensors that each lacked.
    """

    newest: int = 0
    closed: int = 0
    open: dict[int, dict[str, _Known]] = field(default_factory=dict)
    held: dict[str, _Known] = field(default_factory=dict)
    made: list[tuple[int, list[str]]] = field(default_factory=list)

    @classmethod
    def restored(cls, state: bytes | None) -> Joiner:
        """As it was; empty where it never was."""
        if state is None:
            return cls()
        said: dict[str, Any] = orjson.loads(state)
        return cls(
            said["newest"], said["closed"],
            {at: _known(values) for at, values in said["open"]},
            _known(said["held"]), [(at, lacked) for at, lacked in said["made"]],
        )  # fmt: skip

    def state(self) -> bytes:
        """All of it; see `restored`."""
        return orjson.dumps(
            {
                "newest": self.newest, "closed": self.closed, "open": list(self.open.items()),
                "held": self.held, "made": self.made,
            },
            default=list,
        )  # fmt: skip

    def take(self, one: Value, came: int, join: Join) -> tuple[Outcome, list[dict[str, Any]]]:
        """One more value.

        Args:
            one: of a sensor of the rule's.
            came: when; the time of a value that has none of its own.
            join: the rule.

        Returns:
            What became of it: `taken`; `again`, known already, or a newer one is; `late`, its row
            is gone without it; `different` from the one of its time. And the rows that are whole
            now, or wait no longer, in the order of their times.
        """
        time = max(came, self.newest + 1) if one.time is None else one.time
        outcome = self._placed(one.sensor, _Known(time, one.value), join)
        self.newest = max(self.newest, time)
        return outcome, self._ticks(join) if join.period_s else self._whole(join)

    def _placed(self, sensor: str, said: _Known, join: Join) -> Outcome:
        period = int(join.period_s * SECOND)
        at = -(-said.time // period) * period if period else said.time
        if at <= self.closed:
            return self._came_late(sensor, said, at, bool(period))
        row = self.open.setdefault(at, {})
        known = row.get(sensor)
        if known is None or known.time < said.time:
            row[sensor] = said
            return "taken"
        return "different" if known.time == said.time and known != said else "again"

    def _came_late(self, sensor: str, said: _Known, at: int, holds: bool) -> Outcome:
        if holds:
            held = self.held.get(sensor)
            if held is not None and held.time >= said.time:
                return "again"
            self.held[sensor] = said  # late for its own row, and still the last one for the next
            return "late"
        lacked = dict(self.made).get(at)
        return "late" if lacked is None or sensor in lacked else "again"

    def _whole(self, join: Join) -> list[dict[str, Any]]:
        """Rows by the times of values: with all sensors, or waited for long enough."""
        rows: list[dict[str, Any]] = []
        for at in sorted(self.open):
            values = self.open[at]
            waits = at + int(join.wait_s * SECOND) >= self.newest and len(self.open) <= OPEN
            if waits and not values.keys() >= set(join.sensors):
                break
            self._close(at, values, join, rows)
        return rows

    def _ticks(self, join: Join) -> list[dict[str, Any]]:
        """Rows at every multiple of the period: of each sensor the last value, if it is fresh."""
        period, wait = int(join.period_s * SECOND), int(join.wait_s * SECOND)
        oldest = int(join.hold_s * SECOND)
        rows: list[dict[str, Any]] = []
        while True:
            at = (self.closed // period + 1) * period
            if not any(at - one.time <= oldest for one in self.held.values()):
                at = min(self.open, default=self.newest)  # a gap: go on where values are
            if at + wait >= self.newest:
                return rows
            self.held |= self.open.get(at, {})
            fresh = {n: one for n, one in self.held.items() if at - one.time <= oldest}
            self._close(at, fresh, join, rows)

    def _close(
        self, at: int, values: dict[str, _Known], join: Join, rows: list[dict[str, Any]]
    ) -> None:
        """Make a row, unless nothing was measured; from now on others are later."""
        self.open.pop(at, None)
        self.closed = at
        if not join.period_s:
            lacked = [name for name in join.sensors if name not in values]
            self.made = [*self.made[1 - REMEMBERED :], (at, lacked)]
        measured = {
            name: values[name].value
            for name in join.sensors
            if name in values and values[name].value is not None
        }
        if measured:
            rows.append({"time": rfc3339(at), **measured})


def _known(values: dict[str, Any]) -> dict[str, _Known]:
    return {name: _Known(*one) for name, one in values.items()}


def folded(
    state: bytes | None, values: Iterable[tuple[Value, int, Join]]
) -> tuple[bytes, list[dict[str, Any]], list[Outcome]]:
    """Several values after one another.

    Returns:
        The state behind them, the rows that they made, and what became of each.
    """
    joiner = Joiner.restored(state)
    rows: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for one, came, join in values:
        outcome, made = joiner.take(one, came, join)
        outcomes.append(outcome)
        rows += made
    return joiner.state(), rows, outcomes
