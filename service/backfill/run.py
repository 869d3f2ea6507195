"""A recording run through a stream as a server would: the same code, the same alarm log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service.anomaly.alarms import Event
from service.anomaly.stream import Stream, StreamKey
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.backfill.recording import Recording
from service.streaming.description import described
from service.streaming.scoring import Scorer
from service.streaming.turns import event_json

#: Rows that are staged and scored in one go; how many changes no bit.
BLOCK: Final = 512
HOUR: Final = 3600 * SECOND
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a recording under one model version and one budget.

    Attributes:
        label: names it beside another.
        states: of the rows.
        scores: (n,) smoothed, NaN where a row was not judged.
        p_values: (n,), NaN as well.
        alphas: (n,) the level at each row, NaN as well.
        blind: (n,) whether the level was so low that no alarm could begin: the budget was spent.
        events: the alarm log, each event with its line as a server has it.
        state: of the stream at the end; see `described`.
        gap: a longer step between two rows is a gap, microseconds; 0 = not known.
    """

    label: str
    states: list[str]
    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]
    alphas: NDArray[np.float64]
    blind: NDArray[np.bool_]
    events: list[tuple[Event, dict[str, Any]]]
    state: dict[str, Any]
    gap: int

    def log(self) -> bytes:
        """The alarm log, a canonical JSON object a line: byte for byte what a server logs."""
        return b"".join(
            orjson.dumps(line, option=orjson.OPT_SORT_KEYS) + b"\n" for _, line in self.events
        )

    def spans(self, end: int) -> list[tuple[int, int]]:
        """When alarms were on: (raised, cleared) in microseconds since 1970."""
        spans: list[tuple[int, int]] = []
        for event, _ in self.events:
            if event.change == "raised":
                spans.append((event.time, end))
            elif event.change in ("cleared", "reset") and spans:
                spans[-1] = (spans[-1][0], event.time)
        return spans

    def in_alarm(self) -> float | None:
        """Share of the judged rows during which the alarm was on; None if none was judged."""
        judged = np.isfinite(self.p_values).sum()
        return float(self.states.count("active") / judged) if judged else None

    def blindness(self) -> float | None:
        """Share of the judged rows at which no alarm could begin; None if none was judged."""
        judged = np.isfinite(self.p_values).sum()
        return float(self.blind.sum() / judged) if judged else None

    def load(self, start: int) -> list[int]:
        """Alarms raised in each hour since `start`, the last hour with one included."""
        hours = [(e.time - start) // HOUR for e, _ in self.events if e.change == "raised"]
        return [hours.count(hour) for hour in range(max(hours, default=-1) + 1)]


def replayed(
    scorer: Scorer,
    recording: Recording,
    config: StreamConfig,
    stream: str,
    label: str,
    on_rows: Progress = lambda _: None,
    *,
    historical: bool = True,
) -> Replayed:
    """Run a recording.

    Args:
        scorer: of the model version.
        recording: of its sensors.
        config: settings of the stream.
        stream: its name.
        label: see `Replayed`.
        on_rows: told how many more rows are done.
        historical: whether the events are marked so.

    Raises:
        Conflict: two rows of the recording have one time and different values.
        StreamRefused: a value lies outside the range of its sensor.
    """
    manifest = scorer.model.manifest
    key = StreamKey(manifest.name, manifest.version, stream)
    one = Stream.begin(key, scorer.subject, config)
    states: list[str] = []
    events: list[Event] = []
    n = len(recording.times)
    columns = {name: np.full(n, np.nan) for name in ("score", "p_value", "alpha")}
    blind = np.zeros(n, np.bool_)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        where = f"{recording.name}, rows from {start}"
        scorer.check_range(recording.values[block], config.ranges, where)
        staged = one.stage(recording.times[block], recording.values[block], historical)
        scores, shares = np.empty(0, np.float32), None
        if staged.windows:
            scores, shares = scorer.score(staged.windows)
        said, changed = one.conclude(staged, scores, shares)
        states += [answer["state"] for answer in said]
        for name, column in columns.items():
            column[block] = [np.nan if a[name] is None else a[name] for a in said]
        judge = one.levels.judge
        if judge is not None:
            calm = np.array([answer["state"] != "active" for answer in said])
            blind[block] = (columns["alpha"][block] < judge.rarest) & calm
        events += changed
        on_rows(len(said))
    return Replayed(
        label, states, columns["score"], columns["p_value"], columns["alpha"], blind,
        [(event, event_json(key, event)) for event in events], described(one), one.track.gap,
    )  # fmt: skip
