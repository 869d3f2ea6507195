"""A judge that follows drift keeps its budget, and does the same again bit for bit."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.anomaly.adaptive import AdaptiveConformal
from service.anomaly.conformal import threshold
from service.anomaly.reference import Scores
from service.calibration import Adaptive
from service.errors import CalibrationError

RANDOM = np.random.default_rng(8)
REFERENCE: Scores = np.sort(RANDOM.exponential(size=2000))


def drifting(rows: int) -> Scores:
    """Scores of an anomaly-free run whose level and spread double, and that swing meanwhile."""
    time = np.linspace(0, 1, rows)
    return RANDOM.exponential(size=rows) * (1 + time) + time + 0.2 * np.sin(40 * time)


def test_judgements_match_values_worked_by_hand() -> None:
    judge = AdaptiveConformal(np.arange(1.0, 10.0), 0.2, Adaptive(gamma=0.1, buffer=10, cap=1.05))
    # p = (1 + as high) / (n + 1): nine scores in the buffer, then ten.
    assert judge.judge(9.5) == (0.1, 0.2, True)
    p_value, alpha, alarm = judge.judge(5.0)
    # One of 11 is 9.5, five are 5 or more and below it; alpha fell by 0.1 * (1 - 0.2).
    assert p_value == 7 / 11
    assert alpha == pytest.approx(0.12)
    assert not alarm
    assert judge.judge(0.0).alpha == pytest.approx(0.14)
    assert judge.realised == pytest.approx(1 / 3)
    for _ in range(20):
        alpha = judge.judge(0.0).alpha
    assert alpha == pytest.approx(0.21)  # the cap: 1.05 times the rate


def test_the_budget_is_kept_on_a_drift_that_a_fixed_threshold_does_not_survive() -> None:
    scores = drifting(20_000)
    judge = AdaptiveConformal(REFERENCE, 0.01)
    alarms = [judge.judge(score).alarm for score in scores.tolist()]
    assert judge.realised == pytest.approx(0.01, rel=0.1)
    assert np.mean(alarms) == judge.realised
    assert (scores > threshold(REFERENCE, 0.01)).mean() > 0.05


def test_a_frozen_row_is_judged_and_changes_nothing() -> None:
    judge = AdaptiveConformal(REFERENCE, 0.01)
    before = judge.state()
    fault = [judge.judge(50.0 + at, frozen=True) for at in range(500)]
    assert all(one.alarm for one in fault)
    assert judge.state() == before
    # A judge that is never frozen takes the fault for the new normal.
    absorbing = AdaptiveConformal(REFERENCE, 0.01)
    assert not all(absorbing.judge(50.0 + at).alarm for at in range(500))


@given(scores=st.lists(st.sampled_from([-0.0, 0.0, 1.0, 1.5, 3.0]) | st.floats(-5, 5), max_size=40))
def test_p_values_are_those_among_the_last_scores_and_no_others(scores: list[float]) -> None:
    kept = np.arange(10.0)
    judge = AdaptiveConformal(kept, 0.2, Adaptive(buffer=10))
    # The reference leaves in an order of its own; once it has left, it is the last ten.
    for at, score in enumerate([*range(10), *scores]):
        said = judge.judge(float(score))
        if at >= 10:
            last = [*map(float, range(10)), *scores][at - 10 : at]
            assert said.p_value == (1 + sum(one >= score for one in last)) / 11


@settings(max_examples=40)
@given(
    scores=st.lists(st.floats(-5, 50), max_size=60),
    cut=st.integers(0, 60),
    frozen=st.integers(0, 5),
)
def test_a_restored_judge_judges_the_same_bit_for_bit(
    scores: list[float], cut: int, frozen: int
) -> None:
    asked = Adaptive(buffer=30)
    judge = AdaptiveConformal(REFERENCE, 0.05, asked)
    for score in scores[:cut]:
        judge.judge(score)
    again = AdaptiveConformal.restore(judge.state())
    rest = [(score, at % 5 < frozen) for at, score in enumerate(scores[cut:])]
    assert [judge.judge(*one) for one in rest] == [again.judge(*one) for one in rest]
    assert judge.state() == again.state()
    assert judge.realised == again.realised


@given(st.binary(max_size=300), st.booleans())
def test_any_other_bytes_are_refused_or_judge(content: bytes, headed: bool) -> None:
    if headed:
        content = AdaptiveConformal(REFERENCE, 0.05, Adaptive(buffer=30)).state()[:-3] + content
        if len(content) % 8 == 4:
            content += b"x"
    with suppress(CalibrationError):  # and nothing else
        AdaptiveConformal.restore(content).judge(1.0)


def test_a_damaged_state_is_refused() -> None:
    state = AdaptiveConformal(REFERENCE, 0.05).state()
    for damaged in (b"", state[:40], state[:-1], state[:-8], b"x" + state):
        with pytest.raises(CalibrationError, match="Begin with a new one"):
            AdaptiveConformal.restore(damaged)


def test_too_few_scores_and_scores_that_are_none_are_refused() -> None:
    with pytest.raises(CalibrationError, match="reference scores of 98 .* least 99"):
        AdaptiveConformal(np.arange(98.0), 0.01)
    with pytest.raises(CalibrationError, match="a buffer of 50 .* least 99"):
        AdaptiveConformal(REFERENCE, 0.01, Adaptive(buffer=50))
    with pytest.raises(CalibrationError, match="got nan, wanted a finite number"):
        AdaptiveConformal(REFERENCE, 0.01).judge(float("nan"))
