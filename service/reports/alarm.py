"""What a report says of an alarm: where, when and how rare it was, and what people did about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.explain.legend import number
from service.reports.blocks import Block, Fact, Facts, Grid, Section, Text
from service.reports.material import Material


def alarm(material: Material) -> Section | None:
    """The alarm of an alarm's record; None for other kinds."""
    said = event_of(material)
    if said is None:
        return None
    facts = [
        Fact("Alarm", said["alarm"], literal=True),
        Fact("Stream", said["stream"], f"of line {said['line']}"),
        Fact("Raised", said["time"], "UTC, the time of the row that raised it"),
        Fact("Rarity", f"p-value {said['p_value']:.3g}",
             f"share of anomaly-free rows with so high a score; the stream's level was "
             f"{said['alpha']:.3g}"),
        Fact("Score", number(said["score"]), "as the stream judged it; the higher the rarer"),
        Fact("Sensors", _sensors(said), "by their share of the error"),
    ]  # fmt: skip
    acts: list[Block] = [Text("Nobody has done anything about it yet.")]
    if told := material.beside["alarm-act"]:
        rows = [
            (one["time"], one["change"], one.get("by", ""), one.get("comment", ""))
            for one in (act.body["event"] for act in told)
        ]
        acts = [Grid(("UTC", "what", "by", "comment"), rows)]
    return Section("The alarm", [Facts(facts), *acts])


def event_of(material: Material) -> Mapping[str, Any] | None:
    """The line of the alarm log that an alarm's record holds; None for other kinds."""
    if material.record.kind != "alarm":
        return None
    said: Mapping[str, Any] = material.record.body["event"]
    return said


def _sensors(said: Mapping[str, Any]) -> str:
    named = said.get("contributors", ())
    return ", ".join(f"{one['sensor']} {one['share']:.0%}" for one in named) or "not told"
