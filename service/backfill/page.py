"""A replayed recording as a page: what would have been alarmed, how often, and the signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median

from service.anomaly.times import SECOND, rfc3339
from service.audit.record import timestamp
from service.backfill.alarm_table import alarms, lasting
from service.backfill.faults import Found, found, known
from service.backfill.picture import shown
from service.backfill.recording import Recording
from service.backfill.run import Replayed
from service.reports.blocks import Fact, Facts, Grid, Picture, Report, Section, Text
from service.reports.page import html

#: Alarms listed on the page; the log has all.
LISTED = 200


def page(
    recording: Recording,
    sensors: Sequence[str],
    picture: bytes,
    runs: Sequence[Replayed],
    headline: str,
) -> str:
    """HTML that needs nothing else.

    Args:
        recording: what was run.
        sensors: names of its columns.
        picture: of it, PNG.
        runs: one, or two that are compared.
        headline: what was found, in a few words.
    """
    first, last = min(recording.times), max(recording.times)
    span = f"{rfc3339(first)} to {rfc3339(last)}, {lasting((last - first) / SECOND)}"
    rows = f"{len(recording.times)} rows of {recording.name}, {span}"
    sections = [
        Section("Signals and alarms", [Picture(picture, _caption(recording, sensors, runs))]),
        Section("Alarm load", [comparison(recording, runs), *_load(recording, runs)]),
        *(Section(f"Alarms: {run.label}", _log(run)) for run in runs),
        Section("How it was run", [Facts([*_facts(recording, runs)])]),
    ]
    made = timestamp(datetime.now(UTC))
    return html(Report("Replay of a recording", headline, rows, "", made, sections))


def _caption(recording: Recording, sensors: Sequence[str], runs: Sequence[Replayed]) -> str:
    drawn = shown(sensors, runs)
    said = "Each sensor over time" if len(drawn) == len(sensors) else (
        f"The {len(drawn)} of {len(sensors)} sensors that alarms name most, over time"
    )  # fmt: skip
    said += " (in long recordings its mean, and grey from the lowest to the highest value)"
    said += "; alarms are shaded"
    if len(runs) > 1:
        labels = " and in the lower half those of ".join(run.label for run in runs)
        said += f", in the upper half those of {labels}"
    if recording.truth is not None:
        said += "; a yellow strip is a known fault"
    said += (
        ". Below: how rare each row's score was, with the numbers of the alarms; above the line it "
        "exceeds the budget's level. Grey: not judged (warm-up, gaps)."
    )
    if any(run.blind.any() for run in runs):
        said += " A dark bar on top: the budget is spent, and no alarm can begin until it is paid."
    return said


def comparison(recording: Recording, runs: Sequence[Replayed]) -> Grid:
    """What was asked for and what came of it, a column a run."""
    names: list[tuple[str, Callable[[Replayed], str]]] = [
        ("alarm events", lambda r: str(len(raised(r)))),
        ("events an hour", lambda r: _number(_rate(r))),
        ("budget", lambda r: budget(r)),
        ("judged hours", lambda r: f"{r.state['observed_hours']:.2f}"),
        ("in alarm, share of the time", lambda r: _share(r.in_alarm())),
        ("no alarm possible, budget spent", lambda r: _share(r.blindness())),
        ("rows that may exceed", lambda r: _share(r.state["budget"]["row_rate"])),
        ("rows that exceed, alarms left out",
         lambda r: _share(r.state["budget"]["realised_row_rate"])),
        ("warm-up rows", lambda r: str(r.state["warm_up"]["rows"])),
        ("gaps", lambda r: str(r.state["counts"]["gaps"])),
        ("repeated and late rows", lambda r: str(
            r.state["counts"]["duplicates"] + r.state["counts"]["late"])),
    ]  # fmt: skip
    if recording.truth is not None:
        faults, end = known(recording), max(recording.times)
        names[1:1] = [
            ("known faults alarmed", lambda r: _alarmed(found(faults, r.spans(end)))),
            ("median delay", lambda r: _delay(found(faults, r.spans(end)))),
            ("alarms beside a known fault", lambda r: str(found(faults, r.spans(end)).beside)),
        ]
    header = ["", *(run.label for run in runs)]
    return Grid(header, [[name, *(tell(run) for run in runs)] for name, tell in names])


def _alarmed(said: Found) -> str:
    return f"{said.alarmed} of {said.faults}"


def _delay(said: Found) -> str:
    return lasting(median(said.delays)) if said.delays else "-"


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
    loads = [run.load(min(recording.times)) for run in runs]
    longest = max(map(len, loads), default=0)
    if longest < 2:
        return []
    header = ["hour from the start", *(f"alarms: {run.label}" for run in runs)]
    rows = [
        [str(hour), *(str(load[hour]) if hour < len(load) else "0" for load in loads)]
        for hour in range(longest)
        if any(hour < len(load) and load[hour] for load in loads)
    ]
    return [Grid(header, rows)]


def _log(run: Replayed) -> list[Grid | Text]:
    table = alarms(run)
    if not table.rows:
        return [Text("No alarm.")]
    said: list[Grid | Text] = [Grid(table.header, table.rows[:LISTED])]
    if len(table.rows) > LISTED:
        said.append(Text(f"{len(table.rows) - LISTED} more stand in the log.", quiet=True))
    return said


def _facts(recording: Recording, runs: Sequence[Replayed]) -> list[Fact]:
    facts = [Fact("columns left out", ", ".join(recording.left_out) or "none")]
    if recording.notes:
        facts.append(Fact("told from the file", "; ".join(recording.notes)))
    for run in runs:
        state = run.state
        said = ", ".join(f"{k} {v}" for k, v in state["settings"].items() if v not in (None, {}))
        facts.append(Fact(run.label, f"{state['model_name']}@{state['model_version']}", said))
    return facts
