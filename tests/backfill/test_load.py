"""What is told of a replay: alarms as lines, known faults, and points of a long picture."""

from __future__ import annotations

import numpy as np
import pytest

from service.anomaly.times import SECOND
from service.backfill.alarm_table import SPACE, lasting
from service.backfill.faults import found, known
from service.backfill.recording import Recording
from service.backfill.thinning import Bins


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.25 s"), (59, "59 s"), (60, "1 min"), (187, "3 min 7 s"), (7500, "2 h 5 min"),
     (90_000, "1 d 1 h")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert lasting(seconds) == said.replace(" ", SPACE)


def test_faults_are_found_missed_and_imagined() -> None:
    times = [at * SECOND for at in range(100)]
    truth = np.zeros(100, bool)
    for begin, end in ((10, 20), (40, 50), (90, 100)):
        truth[begin:end] = True
    faults = known(Recording("a", times, np.zeros((100, 1), np.float32), (), truth=truth))
    assert faults == [(10 * SECOND, 19 * SECOND), (40 * SECOND, 49 * SECOND),
                      (90 * SECOND, 99 * SECOND)]  # fmt: skip
    alarms = [(13 * SECOND, 30 * SECOND), (60 * SECOND, 61 * SECOND), (88 * SECOND, 95 * SECOND)]
    said = found(faults, alarms)
    # The second is missed; the third was on before its fault began, and was raised beside it.
    assert (said.faults, said.alarmed, said.delays, said.beside) == (3, 2, (3.0, 0.0), 2)


def test_a_long_picture_loses_no_peak_and_shows_its_gap() -> None:
    times = np.concatenate([np.arange(50_000), np.arange(80_000, 130_000)]) * SECOND
    values = np.zeros(100_000)
    values[33_333], values[70_001] = 9, -7
    bins = Bins.of(times.astype(np.int64), 5 * SECOND, 500)
    assert bins.dense
    assert bins.highest(values).max() == 9
    assert bins.lowest(values).min() == -7
    moments, line = bins.line(values)
    assert len(line) <= 1001
    (gap,) = np.flatnonzero(np.isnan(line))
    assert moments[gap - 1] < 50_000 * SECOND < 80_000 * SECOND <= moments[gap]
    assert np.nanmax(line) == 9


def test_values_that_are_missing_are_no_points() -> None:
    values = np.array([1.0, np.nan, np.nan, 4.0])
    bins = Bins.of(np.arange(4) * SECOND, 0, 4)
    np.testing.assert_array_equal(bins.mean(values), [1, np.nan, np.nan, 4])
    np.testing.assert_array_equal(bins.highest(values), [1, np.nan, np.nan, 4])
