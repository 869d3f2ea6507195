"""Drift: found where it is, against River and SciPy; and state comes back exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.anomaly import usual
from service.anomaly.change import chance, critical, cut, distances, other
from service.anomaly.drift import Drift, DriftEvent
from service.anomaly.drift_advice import Drifted, advice
from service.anomaly.drift_evidence import measured
from service.errors import CalibrationError, CorruptStream

SECOND = 1_000_000
SENSORS = ("flow", "heat", "noise")


def _rows(n: int, seed: int = 0) -> tuple[list[int], NDArray[np.float32], list[float]]:
    """A process that stays as it is: levels 10, 50, 0 and spreads 1, 5, 0.1."""
    rng = np.random.default_rng(seed)
    values = rng.normal([10, 50, 0], [1, 5, 0.1], (n, 3)).astype(np.float32)
    times = [at * SECOND for at in range(n)]
    return times, values, rng.exponential(1.0, n).tolist()


def _fed(drift: Drift, n: int, seed: int, shift: NDArray[np.float64] | None = None,
         score: float = 0.0, start: int = 0) -> list[DriftEvent]:  # fmt: skip
    times, values, scores = _rows(n, seed)
    if shift is not None:
        values = (values + shift).astype(np.float32)
    return drift.take([start + t for t in times], values, [s + score for s in scores])


def test_a_process_that_stays_as_it_is_drifts_nowhere() -> None:
    for seed in range(5):
        drift = Drift.begin(SENSORS, block=20)
        assert _fed(drift, 20_000, seed) == []


def test_a_sensor_that_moves_is_named_with_how_far_and_since_when() -> None:
    drift = Drift.begin(SENSORS, block=20)
    assert _fed(drift, 4_000, 1) == []
    (event,) = _fed(drift, 2_000, 2, np.array([0, 10, 0]), start=4_000 * SECOND)
    assert event.change == "begun"
    (signal,) = drift.signals()
    assert (signal.name, signal.found_by) == ("heat", "adwin")
    assert signal.spreads == pytest.approx(2.0, abs=0.3)
    assert abs(signal.since - 4_000 * SECOND) <= 60 * SECOND
    assert advice(drift.signals(), 3)["advice"] == "look at the sensor"
    # It comes back: the drift is over.
    ended = _fed(drift, 2_000, 3, start=6_000 * SECOND)
    assert [one.change for one in ended] == ["ended"]
    assert drift.signals() == ()


def test_the_evidence_of_a_step_is_what_is_worked_by_hand() -> None:
    """Blocks of one row: a sensor that is 3, 1, 3, 1 ... and then 13, 11, 13, 11 ..."""
    given = np.array([[2.0, 0.5], [1.0, 0.5]])
    drift = Drift.begin(("flow",), block=1, reference=given)
    values = np.tile([3.0, 1.0], 50) + np.repeat([0.0, 10.0], [60, 40])
    drift.take([at * SECOND for at in range(100)], np.float32(values[:, None]), [0.5] * 100)
    assert (drift.since[0], drift.found_by[0]) == (58, "adwin")  # as it seemed after five
    drift.since[0] = 60
    said = measured(drift)
    assert (said["blocks"], said["block_rows"], said["false_change"]) == (100, 1, 0.002)
    flow = said["evidence"]["flow"]
    assert flow["reference"] == {"mean": 2.0, "spread": 1.0}
    assert (flow["now"], flow["spreads"]) == (11.0, 9.0)
    assert flow["before"] == {"mean": 2.0, "blocks": 60}
    assert flow["after"] == {"mean": 12.0, "blocks": 40}
    # Variance 1 + 100 * 0.6 * 0.4 = 25, 1/60 + 1/40 = 1/24, ln(2 ln(100) / 0.001) = 9.128.
    assert flow["adwin"] == {"apart": 10.0, "by_chance": 4.614}
    assert flow["kswin"] == {"distance": 1.0, "blocks": 30, "chance": 1.69112e-17}  # 2 / C(60, 30)
    assert "before" not in said["evidence"]["score"]  # it never changed


def test_there_is_no_evidence_while_the_reference_is_learnt() -> None:
    drift = Drift.begin(SENSORS, block=20)
    assert measured(drift)["evidence"] == {}
    _fed(drift, 20 * 29, 1)
    assert (measured(drift)["blocks"], measured(drift)["evidence"]) == (29, {})
    _fed(drift, 20, 2, start=580 * SECOND)
    assert set(measured(drift)["evidence"]) == {*SENSORS, "score"}


def test_what_is_elsewhere_than_in_training_from_the_first_row_on_is_far() -> None:
    trained = np.array([[0.0, 50.0, 0.0, 1.0], [1.0, 5.0, 0.1, 1.0]])
    drift = Drift.begin(SENSORS, block=20, reference=trained)
    (event,) = _fed(drift, 400, 1)
    assert [(one.name, one.found_by) for one in event.signals] == [("flow", "far")]
    assert event.signals[0].spreads == pytest.approx(10.0, abs=0.5)


def test_a_distribution_that_changes_at_one_mean_is_not_called_a_shift() -> None:
    """Twice the noise around the same level: KSWIN may see it, nothing has gone anywhere."""
    drift = Drift.begin(SENSORS, block=20)
    _fed(drift, 4_000, 1)
    times, values, scores = _rows(4_000, 2)
    values[:, 0] = 10 + 2 * (values[:, 0] - 10)
    assert drift.take([4_000 * SECOND + t for t in times], values, scores) == []


def test_scores_alone_want_a_calibration_and_many_sensors_a_training() -> None:
    drift = Drift.begin(SENSORS, block=20)
    _fed(drift, 4_000, 1)
    _fed(drift, 2_000, 2, score=2.0, start=4_000 * SECOND)
    assert [one.name for one in drift.signals()] == ["score"]
    assert advice(drift.signals(), 3)["advice"] == "recalibrate"
    _fed(drift, 2_000, 3, np.array([2.0, 10.0, 0.2]), start=6_000 * SECOND)
    assert advice(drift.signals(), 3)["advice"] == "retrain"
    small = (Drifted("flow", 1.2, 0, "adwin"),)
    assert advice((*small, Drifted("score", 1.5, 0, "adwin")), 8)["advice"] == "recalibrate"


def test_missing_values_and_dead_sensors_do_no_harm() -> None:
    drift = Drift.begin(SENSORS, block=20)
    times, values, scores = _rows(6_000, 1)
    values[::3, 0] = np.nan
    values[3_000:, 1] = np.nan  # silent from then on
    values[:, 2] = 7.0  # never moves
    assert drift.take(times, values, scores) == []
    assert np.isfinite(drift.history()[1]).all()


def test_rebased_it_begins_anew() -> None:
    drift = Drift.begin(SENSORS, block=20)
    _fed(drift, 4_000, 1)
    assert _fed(drift, 2_000, 2, np.array([5.0, 0, 0]), start=4_000 * SECOND)
    drift.rebase()
    assert _fed(drift, 6_000, 3, np.array([5.0, 0, 0]), start=6_000 * SECOND) == []


@given(st.lists(st.integers(1, 700), max_size=8), st.integers(0, 6_000))
@settings(max_examples=15, deadline=None)
def test_however_rows_come_and_wherever_it_is_restored_the_bits_are_the_same(
    sizes: list[int], moved: int
) -> None:
    times, values, scores = _rows(6_000, 4)
    values[2_000:, 1] += 20  # and more blocks after it than are remembered
    whole = Drift.begin(SENSORS, block=20)
    wanted = whole.take(times, values, scores)
    parts = Drift.begin(SENSORS, block=20)
    found, at = [], 0
    for size in itertools.chain(sizes, [6_000]):
        if at <= moved < at + size:
            parts = Drift.restore(parts.state())
        found += parts.take(times[at : at + size], values[at : at + size], scores[at : at + size])
        at = min(at + size, 6_000)
    assert found == wanted
    assert wanted
    assert parts.state() == whole.state()


def test_a_damaged_state_is_refused() -> None:
    drift = Drift.begin(SENSORS)
    _fed(drift, 500, 1)
    state = drift.state()
    for broken in (b"", b"x" + state, state[:-8], state[:60], state.replace(b"flow", b"f")):
        with pytest.raises(CorruptStream):
            Drift.restore(broken)


def test_distances_and_chances_are_those_of_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 40)), rng.normal(0.7, 1, size=(30, 40))
    a[:, 20:], b[:, 20:] = a[:, 20:].round(), b[:, 20:].round()  # with ties
    ours = distances(a, b)
    for at in range(40):
        oracle = ks_2samp(a[:, at], b[:, at], method="exact")
        assert ours[at] == pytest.approx(oracle.statistic, abs=1e-12)
        assert chance(30, round(ours[at] * 30)) == pytest.approx(oracle.pvalue, rel=1e-9)
    assert critical(30, 0.005) == pytest.approx(14 / 30)


def test_changes_are_found_where_river_finds_them() -> None:
    """50 series with a step of 1.5 spreads, and 50 without, against ADWIN and KSWIN of River."""
    pytest.importorskip("river", reason="NO RIVER: change tests are not held against it")
    from river.drift import ADWIN, KSWIN

    late: dict[str, list[int]] = {"ours": [], "theirs": []}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        step = 0.0 if seed % 2 else 1.5
        series = np.concatenate([rng.normal(0, 1, 150), rng.normal(step, 1, 80)])
        theirs = ADWIN(delta=0.002, clock=1, grace_period=2 * 5)
        kswin = KSWIN(alpha=0.0005, window_size=100, stat_size=30, seed=seed)
        seen = {"adwin": -1, "kswin": -1}
        ours = {"adwin": -1, "kswin": -1}
        for n, value in enumerate(series, 1):
            for name, one in (("adwin", theirs), ("kswin", kswin)):
                one.update(value)
                if one.drift_detected and seen[name] < 0:
                    seen[name] = n
            table = series[:n, None]
            if n >= 20 and ours["adwin"] < 0:
                if cut(table, np.zeros(1, np.int64), 0.002)[0] >= 0:
                    ours["adwin"] = n
            if n >= 100 and ours["kswin"] < 0 and other(table, 0.0005, n)[0]:
                ours["kswin"] = n
        if not step:
            assert ours["adwin"] == -1
        if step:
            assert seen["adwin"] > 150
            assert ours["adwin"] > 150
            # Every cut is tried here, and some of them there: as soon or sooner.
            assert -20 <= ours["adwin"] - seen["adwin"] <= 8
            late["ours"].append(ours["kswin"] - 150)
            late["theirs"].append(seen["kswin"] - 150)
    # Each draws its own samples, and each is wrong now and then before the step.
    for delays in late.values():
        assert sum(delay > 0 for delay in delays) >= 45
    assert abs(np.median(late["ours"]) - np.median(late["theirs"])) <= 4


def test_what_is_usual_is_written_and_read_and_nothing_else_is_taken_for_it() -> None:
    windows = np.float32([[[1, 10], [3, np.nan]], [[1, 10], [3, 10]]])
    found = usual.measured(windows, np.array([1.0, 3.0]))
    assert found.tolist() == [[2.0, 10.0, 2.0], [1.0, 0.01, 1.0]]  # the second never moves
    content = usual.to_json(("flow", "heat"), found)
    assert (usual.from_json(content, ("flow", "heat")) == found).all()
    for broken, sensors in ((b"{", ("flow", "heat")), (b"{}", ()), (content, ("heat", "flow"))):
        with pytest.raises(CalibrationError, match="usual values of sensors"):
            usual.from_json(broken, sensors)
