"""A replayed recording as a page: what would have been alarmed, how often, and the signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from service.anomaly.times import rfc3339
from service.audit.record import timestamp
from service.backfill.recording import Recording
from service.backfill.run import Replayed
from service.reports.blocks import Fact, Facts, Grid, Picture, Report, Section, Text
from service.reports.page import html

#: Alarm events listed on the page; the log has all.
LISTED = 200


def page(recording: Recording, picture: bytes, runs: Sequence[Replayed], headline: str) -> str:
    """HTML that needs nothing else.

    Args:
        recording: what was run.
        picture: of it, PNG.
        runs: one, or two that are compared.
        headline: what was found, in a few words.
    """
    span = f"{rfc3339(recording.times[0])} to {rfc3339(recording.times[-1])}"
    rows = f"{len(recording.times)} rows of {recording.name}, {span}"
    caption = "Each sensor over time; alarms are shaded"
    caption += (
        ", in the upper half those of " + " and in the lower half those of ".join(
            run.label for run in runs
        )
        if len(runs) > 1
        else ""
    )  # fmt: skip
    caption += (
        ". Below: how rare each row's score was; above the line it exceeds the budget's level."
    )
    sections = [
        Section("Signals and alarms", [Picture(picture, caption, scrolls=True)]),
        Section("Alarm load", [comparison(runs), *_load(recording, runs)]),
        *(Section(f"Alarm log: {run.label}", _log(run)) for run in runs),
        Section("How it was run", [Facts([*_facts(recording, runs)])]),
    ]
    made = timestamp(datetime.now(UTC))
    return html(Report("Replay of a recording", headline, rows, "", made, sections))


def comparison(runs: Sequence[Replayed]) -> Grid:
    """What was asked for and what came of it, a column a run."""
    names: tuple[tuple[str, Callable[[Replayed], str]], ...] = (
        ("alarm events", lambda r: str(len(raised(r)))),
        ("events an hour", lambda r: _number(_rate(r))),
        ("budget", lambda r: budget(r)),
        ("judged hours", lambda r: f"{r.state['observed_hours']:.2f}"),
        ("rows that exceed, asked", lambda r: _share(r.state["budget"]["row_rate"])),
        ("rows that exceed, realised", lambda r: _share(r.state["budget"]["realised_row_rate"])),
        ("warm-up rows", lambda r: str(r.state["warm_up"]["rows"])),
        ("gaps", lambda r: str(r.state["counts"]["gaps"])),
        ("repeated and late rows", lambda r: str(
            r.state["counts"]["duplicates"] + r.state["counts"]["late"])),
    )  # fmt: skip
    header = ["", *(run.label for run in runs)]
    return Grid(header, [[name, *(tell(run) for run in runs)] for name, tell in names])


def raised(run: Replayed) -> list[int]:
    """When alarms were raised, microseconds since 1970."""
    return [event.time for event, _ in run.events if event.change == "raised"]


def budget(run: Replayed) -> str:
    """The budget in words."""
    asked = run.state["budget"]
    if asked["events_per_hour"] is None:
        return f"{_share(asked['row_rate'])} of rows"
    return f"{asked['events_per_hour']:g} an hour"


def _rate(run: Replayed) -> float | None:
    hours = run.state["observed_hours"]
    return len(raised(run)) / hours if hours else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _load(recording: Recording, runs: Sequence[Replayed]) -> list[Grid]:
    loads = [run.load(recording.times[0]) for run in runs]
    longest = max(map(len, loads), default=0)
    if not longest:
        return []
    header = ["hour from the start", *(f"alarms: {run.label}" for run in runs)]
    rows = [
        [str(hour), *(str(load[hour]) if hour < len(load) else "0" for load in loads)]
        for hour in range(longest)
        if any(hour < len(load) and load[hour] for load in loads)
    ]
    return [Grid(header, rows)]


def _log(run: Replayed) -> list[Grid | Text]:
    if not run.events:
        return [Text("No alarm.")]
    rows = []
    for event, line in run.events[:LISTED]:
        named = ", ".join(
            f"{c['sensor']} {100 * c['share']:.0f} %" for c in line.get("contributors", ())
        )
        score = f"{event.reading.score:.4g}" if event.reading else ""
        p_value = f"{event.reading.p_value:.2g}" if event.reading else ""
        rows.append([line["time"], event.change, str(event.number), score, p_value, named])
    said: list[Grid | Text] = [
        Grid(["time", "what", "alarm", "score", "p-value", "sensors that contributed most"], rows)
    ]
    if len(run.events) > LISTED:
        said.append(Text(f"{len(run.events) - LISTED} events more stand in the log.", quiet=True))
    return said


def _facts(recording: Recording, runs: Sequence[Replayed]) -> list[Fact]:
    facts = [Fact("columns left out", ", ".join(recording.left_out) or "none")]
    for run in runs:
        state = run.state
        said = ", ".join(f"{k} {v}" for k, v in state["settings"].items() if v not in (None, {}))
        facts.append(Fact(run.label, f"{state['model_name']}@{state['model_version']}", said))
    return facts
