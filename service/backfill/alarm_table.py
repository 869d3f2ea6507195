"""The alarm log of a replay as people read it: a line an alarm, with how long it lasted and why."""

from __future__ import annotations

from typing import Any

from service.anomaly.alarms import Event
from service.anomaly.times import SECOND, rfc3339
from service.backfill.run import Replayed
from service.reports.blocks import Grid

#: Keeps a number and its unit on one line.
SPACE = "\N{NO-BREAK SPACE}"
HEADER = ("alarm", "raised, UTC", "lasted", "p", "sensors that contributed most")


def alarms(run: Replayed) -> Grid:
    """A line an alarm, and a line a drift."""
    rows: list[list[str]] = []
    begun: dict[bool, tuple[int, list[str]]] = {}
    for event, line in run.events:
        drift = event.change.startswith("drift")
        if event.change in ("raised", "drift-begun"):
            row = _first(event, line)
            begun[drift] = (event.time, row)
            rows.append(row)
        elif drift in begun:
            _then(event, *begun[drift])
    return Grid(HEADER, rows)


def lasting(seconds: float) -> str:
    """A length of time in the two units that say enough: `2 h 5 min`, `3 min 7 s`."""
    whole = round(seconds)
    for size, name, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"),
                                     (60, "min", 1, "s")):  # fmt: skip
        if whole >= size:
            many, rest = whole // size, whole % size // small
            said = f"{many} {name} {rest} {below}" if rest else f"{many} {name}"
            return said.replace(" ", SPACE)
    return f"{seconds:.3g}{SPACE}s"


def _first(event: Event, line: dict[str, Any]) -> list[str]:
    moment = rfc3339(event.time).replace("T", SPACE).removesuffix("Z")
    on = "on at the end"
    if event.change == "drift-begun":
        signals = ", ".join(
            f"{one['signal']}{SPACE}{one['spreads']:+.1f}" for one in line["signals"][:3]
        )
        return ["drift", moment, on, "", f"{signals} spreads; {line['advice']}"]
    said = ", ".join(
        f"{one['sensor']} {100 * one['share']:.0f}{SPACE}%" for one in line.get("contributors", ())
    )
    assert event.reading is not None
    return [str(event.number), moment, on, f"{event.reading.p_value:.2g}", said]


def _then(event: Event, since: int, row: list[str]) -> None:
    """What became of it, put into its line."""
    if event.change in ("cleared", "reset", "drift-ended"):
        row[2] = lasting((event.time - since) / SECOND)
