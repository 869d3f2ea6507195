"""What a report says of a stream that was forgotten, or that got other settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.reports.blocks import Block, Fact, Facts, Grid, Section
from service.reports.material import Material


def stream(material: Material) -> Section | None:
    """What was done to the stream of such a record; None for other kinds."""
    said = stream_of(material)
    if said is None:
        return None
    rows = "not known" if said["rows"] is None else f"{said['rows']:,}"
    facts = [
        Fact("Stream", said["stream"], f"of {said['model']}@{said['version']}"),
        Fact("Rows", rows, "that it had taken in until then"),
        Fact("By", said["by"], "name of the API key, or the address where no key was needed"),
    ]
    told: list[Block] = [Facts(facts)]
    if settings := said.get("settings"):
        changed = [(name, _shown(old), _shown(new)) for name, (old, new) in settings.items()]
        told.append(Grid(("setting", "before", "from then on"), changed))
    return Section("The stream", told)


def stream_of(material: Material) -> Mapping[str, Any] | None:
    """What a stream's record holds; None for other kinds."""
    if material.record.kind != "stream":
        return None
    said: Mapping[str, Any] = material.record.body["stream"]
    return said


def done(said: Mapping[str, Any]) -> str:
    """What was done to it, in a few words."""
    return f"{said['stream']}, {'other settings' if said.get('settings') else 'forgotten'}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        ranges = (f"{name} {low:g} to {high:g}" for name, (low, high) in value.items())
        return ", ".join(ranges) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else f"{value:g}"
