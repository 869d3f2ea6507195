"""SKAB as a line would have it: alarms on 34 runs with a fault each, and on the run without any.

    python -m tests.bench.skab_alarms --data ../shared/data/skab [--pages DIR] [--runs 4]

Each run has a detector of its own, learnt from its first 290 rows (`skab_model.released`). The rows
after them go through the code of the service (`glassline replay`), a row a second as recorded: 110
rows of warm-up, which end where the tested part begins, then alarms at a budget of one event an
hour. A fault is caught if an alarm is raised from its first row to its last; the delay counts from
its first. Beside it the static threshold: the score that a share of 4 % of the same 110 rows
exceeds, with the same delays and the same smoothing.

What was chosen, and on what: `SETTINGS` on the runs with even numbers (see `skab_model`), nine of
them, and on the events of the anomaly-free run. The runs with odd numbers had no say; both stand in
the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.anomaly.alarms import Alarm, Reading
from service.anomaly.conformal import threshold
from service.anomaly.reference import reference
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.backfill.page import page
from service.backfill.picture import draw
from service.backfill.recording import Recording, read
from service.backfill.run import Replayed, replayed
from service.inference.registry import Registry
from service.store import ModelStore
from service.streaming.scoring import Scorer
from tests.bench.skab_model import CALIBRATING, DATA, RECIPE, is_development, released
from training.data import skab
from training.data.skab import LEARNT, Run

#: Of every stream of the bench; see the module.
SETTINGS: dict[str, Any] = {
    "events_per_hour": 1, "rate": 0.04, "follow_s": 110, "smoothing": 0.5, "on_delay_s": 5,
    "off_delay_s": 10, "warm_up_rows": CALIBRATING, "longest_freeze_s": 600, "period_s": 1,
}  # fmt: skip
#: Events that a stream begins with, and may save: none keeps the budget, one catches more faults.
SAVED = (0, 1)
#: First row that goes in: the first window ends at the first row that was not learnt from.
FIRST = LEARNT - CALIBRATING - RECIPE.window + 1


@dataclass
class Seen:
    """What a detector of alarms did on runs with faults."""

    caught: int = 0
    runs: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)

    def add(self, raised: Sequence[int], begin: int, end: int) -> None:
        """Alarms of a run, whose fault lasts from `begin` to `end`, in microseconds."""
        self.runs += 1
        self.false += sum(time < begin for time in raised)
        if hits := [time for time in raised if begin <= time <= end]:
            self.caught += 1
            self.delays.append((hits[0] - begin) / SECOND)

    def said(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "faults_alarmed": f"{self.caught}/{self.runs}",
            "share": round(self.caught / max(1, self.runs), 3),
            "median_delay_s": statistics.median(self.delays) if self.delays else None,
            "alarms_before_the_fault": self.false,
        }


def static_alarms(scorer: Scorer, recording: Recording) -> tuple[list[int], float]:
    """When alarms are raised by a threshold that never moves, and the share of rows in alarm."""
    plain = {k: v for k, v in SETTINGS.items() if k != "follow_s"}
    config = StreamConfig.parse({**plain, "own_reference": True}, "static")
    run = replayed(scorer, recording, config, "static.a", "static")
    limit = threshold(reference(run.scores[RECIPE.window :][:CALIBRATING]), SETTINGS["rate"])
    alarm, raised, rows = Alarm(), [], 0
    for time, score in zip(recording.times, run.scores, strict=True):
        if time < recording.times[CALIBRATING + RECIPE.window] or np.isnan(score):
            continue
        over = score > limit
        for event in alarm.step(config, time, bool(over), Reading(score, 0, 0), historical=True):
            if event.change == "raised":
                raised.append(event.time)
        rows += alarm.active
    return raised, rows / len(recording.times)


def alarms(run: Replayed) -> list[int]:
    """When alarms were raised."""
    return [event.time for event, _ in run.events if event.change == "raised"]


def recorded(data: Path, run: Run, sensors: Sequence[str]) -> Recording:
    """The rows of a run from `FIRST` on, with the times at which they were recorded."""
    path = data / (f"{run.name}.csv")
    whole = read(path, sensors)
    return Recording(run.name, whole.times[FIRST:], whole.values[FIRST:], whole.left_out)


def main() -> None:
    """Train, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=int, default=34, help="so many of the runs with a fault")
    parser.add_argument("--pages", type=Path, help="write a page of each run here")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    asked = parser.parse_args()
    data = skab.load(asked.data)
    free: dict[str, Any] = {}
    names = [f"{part}, {kept} saved" for kept in SAVED for part in ("all", "even", "odd")]
    moving, still = {name: Seen() for name in names}, Seen()
    with tempfile.TemporaryDirectory() as home:
        store = ModelStore(Path(home))
        for run in track(
            (data.free, *data.runs[: asked.runs]), "runs", console=Console(stderr=True)
        ):
            stored = released(run.name, store, data)
            registry = Registry(store, "cpu", threads=1, serves=False)
            scorer = Scorer(registry.get(stored.manifest.name))
            recording = recorded(asked.data, run, scorer.subject.sensors)
            runs = [
                replayed(
                    scorer, recording,
                    StreamConfig.parse({**SETTINGS, "saved_events": kept}, "bench"),
                    "skab.rig", f"one event an hour, {kept} saved",
                )
                for kept in SAVED
            ]  # fmt: skip
            fixed, stuck = static_alarms(scorer, recording)
            if run.name == data.free.name:
                free = {
                    "hours": round(runs[0].state["observed_hours"], 2),
                    **{f"events, {kept} saved": len(alarms(one))
                       for kept, one in zip(SAVED, runs, strict=True)},
                    **{
                        f"share of rows in alarm, {kept} saved": round(
                            one.states.count("active") / len(one.states), 3
                        )
                        for kept, one in zip(SAVED, runs, strict=True)
                    },
                    "static_events": len(fixed),
                    "static share of rows in alarm": round(stuck, 3),
                }  # fmt: skip
            else:
                wrong = np.flatnonzero(run.tested) + LEARNT - FIRST
                begin, end = (recording.times[at] for at in (wrong[0], wrong[-1]))
                part = "even" if is_development(run) else "odd"
                for kept, found in zip(SAVED, runs, strict=True):
                    for name in ("all", part):
                        moving[f"{name}, {kept} saved"].add(alarms(found), begin, end)
                still.add(fixed, begin, end)
            if asked.pages:
                write_page(asked.pages, run, recording, scorer.subject.sensors, runs)
    said = {
        "anomaly_free": free,
        **{name: one.said() for name, one in moving.items()},
        "static": still.said(),
        "settings": SETTINGS,
    }
    show(said)
    if asked.json:
        asked.json.write_text(json.dumps(said, indent=1))


def write_page(
    folder: Path, run: Run, recording: Recording, sensors: Sequence[str], runs: Sequence[Replayed]
) -> None:
    """The replay page of a run, and its plot."""
    folder.mkdir(parents=True, exist_ok=True)
    name = run.name.replace("/", "-")
    picture = draw(recording, sensors, runs)
    (folder / f"{name}.png").write_bytes(picture)
    headline = f"{run.name}: {', '.join(str(len(alarms(one))) for one in runs)} alarms"
    (folder / f"{name}.html").write_text(page(recording, sensors, picture, runs, headline))


def show(said: dict[str, Any]) -> None:
    """The figures as a table."""
    table = Table("", "faults alarmed", "median delay", "alarms before the fault")
    for name in [
        name for name in said if isinstance(said[name], dict) and "faults_alarmed" in said[name]
    ]:
        one = said[name]
        delay = one["median_delay_s"]
        table.add_row(
            name, f"{one['faults_alarmed']} ({100 * one['share']:.0f} %)",
            "-" if delay is None else f"{delay:g} s", str(one["alarms_before_the_fault"]),
        )  # fmt: skip
    out = Console()
    out.print(table)
    out.print(f"anomaly-free run: {said['anomaly_free']}")


if __name__ == "__main__":
    main()
