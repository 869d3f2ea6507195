"""A stream's drift as a page: what has drifted since when, what shows it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service.anomaly.change import FEWEST, KS_NEWEST
from service.anomaly.drift import NOW
from service.anomaly.drift_advice import FAR
from service.audit.record import timestamp
from service.reports.blocks import Block, Fact, Facts, Grid, Literal, Picture, Report, Section, Text
from service.reports.page import html
from service.streaming.drift_picture import DRAWN, draw

#: What found a change, in words.
_FOUND: Final = {
    "adwin": "a change of its mean",
    "kswin": "a change of its distribution",
    "far": f"being {FAR:g} spreads away",
}
_TO_DO: Final = {
    "recalibrate": "The model still knows such a process, but what is a rare score has changed. "
    "Give it scores of rows that you know to be good: a new version with the same graph and "
    "another level.",
    "retrain": "The model was made for another process than the one that runs now. Train it on "
    "rows of today that you know to be good, and compare both versions on a recording before the "
    "release.",
    "look at the sensor": "Compare it with another instrument, look at its mounting, cable and "
    "unit. If it is right, the process has changed there.",
}
_NO_FAULT: Final = (
    "A drift is no fault and no alarm: it says that the model was made for another process than "
    "the one that runs now."
)
_COMMANDS: Final = {
    "recalibrate": "glassline models recalibrate {model} --data GOOD-ROWS.csv --reason WHY",
    "retrain": "glassline replay RECORDING.csv --model {model}@NEW --compare {model}@{version} "
    "-o page.html",
}


def page(said: Mapping[str, Any]) -> str:
    """HTML that needs nothing else.

    Args:
        said: what `GET ../drift` tells as JSON.
    """
    sections = [Section("Where every signal is", [_table(said)])] if said["evidence"] else []
    if said["evidence"]:
        sections.append(Section("Block by block", [_picture(said)]))
    if said["signals"]:
        sections.append(Section("What shows it", _tests(said)))
    if said["advice"] != "nothing":
        sections.append(Section("What to do", _to_do(said)))
    sections.append(Section("How it is measured", [Facts(_facts(said)), Text(_NO_FAULT, True)]))
    made = timestamp(datetime.now(UTC))
    title = f"Drift of stream {said['stream']} under {said['model_name']}@{said['model_version']}"
    return html(Report(title, headline(said), _stance(said), "", made, sections))


def headline(said: Mapping[str, Any]) -> str:
    """What is known of the drift, in a few words."""
    names = [one["signal"] for one in said["signals"]]
    if not said["learnt"]:
        return "Drift is not told yet"
    if names:
        most = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} signals more"]
        listed = most[0] if len(most) == 1 else f"{', '.join(most[:-1])} and {most[-1]}"
        return f"{listed} {'has' if len(names) == 1 else 'have'} drifted"
    return "A drift is ending" if said["drifting"] else "No drift"


def _stance(said: Mapping[str, Any]) -> str:
    """The advice in a sentence, with its reason."""
    if not said["learnt"]:
        left = said["blocks_to_learn"] - said["blocks"]
        lasts = f"; {span} are left" if (span := _lasts(said, left)) else ""
        return (
            f"Nothing to do yet: {said['because']}. {said['blocks']} of {said['blocks_to_learn']} "
            f"blocks of {said['block_rows']} rows have come{lasts}."
        )
    advice = "Nothing to do" if said["advice"] == "nothing" else said["advice"].capitalize()
    return f"{advice}: {said['because']}."


def _lasts(said: Mapping[str, Any], blocks: int) -> str:
    """How long so many blocks take; empty where nobody knows."""
    if not said["period_s"]:
        return ""
    return _span(blocks * said["block_rows"] * said["period_s"])


def _table(said: Mapping[str, Any]) -> Grid:
    drifted = {one["signal"]: one for one in said["signals"]}
    names = [*drifted, *(name for name in said["evidence"] if name not in drifted)]
    rows = []
    for name in names:
        one = said["evidence"][name]
        usual = one["reference"]
        rows.append(
            [
                name,
                f"{one['spreads']:+.2f}",
                _when(drifted[name]["since"]) if name in drifted else "-",
                _number(one["now"]),
                f"{_number(usual['mean'])} ± {_number(usual['spread'])}",
            ]
        )
    return Grid(["signal", "off, in spreads", "drifted since (UTC)", "now", "reference"], rows)


def _picture(said: Mapping[str, Any]) -> Picture:
    count = len(said["evidence"])
    which = (
        f"The {DRAWN} of {count} signals that went farthest" if count > DRAWN else "Every signal"
    )
    return Picture(
        draw(said),
        f"{which}, each block's mean, in spreads from the reference. Within the band nothing has "
        f"drifted; shaded: since its change.",
        scrolls=True,
    )


def _tests(said: Mapping[str, Any]) -> list[Block]:
    rows = []
    for one in said["signals"]:
        shown = said["evidence"][one["signal"]]
        adwin, kswin = shown.get("adwin"), shown.get("kswin")
        rows.append(
            [
                one["signal"],
                _FOUND[one["found_by"]],
                _side(shown.get("before")),
                _side(shown.get("after")),
                f"{adwin['apart']:.2f} ({adwin['by_chance']:.2f})" if adwin else "-",
                f"{kswin['distance']:.2f} ({kswin['chance']:.1g})" if kswin else "-",
            ]
        )
    header = [
        "signal", "found for", "mean before", "mean since", "ADWIN: spreads apart (by chance)",
        "KSWIN: distance (its chance)",
    ]  # fmt: skip
    return [
        Grid(header, rows),
        Text(
            "ADWIN: how far the means before and since are apart, and how far chance alone would "
            "let them be. KSWIN: the largest distance of both distributions, 0 to 1, over "
            f"{KS_NEWEST} blocks of each side at most, and the chance of so much where nothing has "
            f"changed. - : fewer than {FEWEST} blocks of one side are remembered.",
            quiet=True,
        ),
    ]


def _side(part: Mapping[str, Any] | None) -> str:
    return f"{_number(part['mean'])}, {_blocks(part['blocks'])}" if part else "not remembered"


def _to_do(said: Mapping[str, Any]) -> list[Block]:
    advice = said["advice"]
    blocks: list[Block] = [Text(_TO_DO[advice])]
    if command := _COMMANDS.get(advice):
        named = {"model": said["model_name"], "version": said["model_version"]}
        blocks.append(Literal(command.format(**named)))
    path = f"/v2/models/{said['model_name']}/streams/{said['stream']}/drift"
    blocks += [
        Text(
            "If what is now is right, say so, with your name: the reference is then learnt anew "
            "from the rows that come."
        ),
        Literal(f'POST {path}\n{{"by": "YOUR NAME", "comment": "WHAT WAS CHANGED"}}'),
    ]
    return blocks


def _facts(said: Mapping[str, Any]) -> list[Fact]:
    wanted, lasts = said["spreads_wanted"], _lasts(said, 1)
    of_model = said["reference"] == "the model's"
    times = said["times"]
    span = f"{_when(times[0])} to {_when(times[-1])} UTC" if times else "no row has come"
    return [
        Fact(
            "reference",
            said["reference"],
            "the anomaly-free rows of its release"
            if of_model
            else f"the first {said['blocks_to_learn']} blocks of this stream",
        ),
        Fact(
            "block",
            f"the mean of {said['block_rows']} rows" + (f", {lasts}" if lasts else ""),
            "rows of alarms are left out",
        ),
        Fact("remembered", f"{_blocks(len(times))} of {said['blocks']} that have come", span),
        Fact(
            "drifted is",
            f"{wanted:g} spread{'' if wanted == 1 else 's'} or more from the reference after a "
            f"change, or {FAR:g} without one",
            f"it ends once every signal has been within {wanted / 2:g} for {2 * NOW} blocks",
        ),
        Fact(
            "false change",
            f"{said['false_change']:g} a block",
            "its chance over all signals together; both tests are made anew for this page, on the "
            "blocks that are remembered",
        ),
    ]


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _blocks(count: int) -> str:
    return f"{count} block{'' if count == 1 else 's'}"


def _when(time: str) -> str:
    """Without fractions of a second, as people read it."""
    return f"{time[:10]} {time[11:19]}"


def _number(value: float) -> str:
    return f"{value:.4g}"
