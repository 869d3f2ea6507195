"""A budget of false alarms holds, as far as so many rows can hold it, and says how far that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.anomaly.conformal import (
    fewest_rows,
    p_values,
    rank,
    realised,
    threshold,
    wanted_rows,
)
from service.anomaly.reference import reference
from service.errors import CalibrationError

NINE = np.arange(1.0, 10.0)


@pytest.mark.parametrize(
    ("score", "p"),  # by hand, of 1, 2, ... 9: (1 + how many are as high) / 10
    [(0.5, 1.0), (1.0, 1.0), (1.5, 0.9), (5.0, 0.6), (9.0, 0.2), (9.5, 0.1)],
)
def test_p_values_match_values_worked_by_hand(score: float, p: float) -> None:
    assert p_values(NINE, np.array([[score]])) == pytest.approx(np.array([[p]]), abs=0)


@pytest.mark.parametrize(
    ("n", "rate", "k"),
    # 0.29 * 100 is 28.999999999999996 and 0.07 * 100 is 7.000000000000001 in floating point.
    [(9, 0.1, 1), (9, 0.19, 1), (9, 0.2, 2), (99, 0.29, 29), (99, 0.07, 7), (999, 0.01, 10)],
)
def test_ranks_match_values_worked_by_hand(n: int, rate: float, k: int) -> None:
    assert rank(n, rate) == k
    assert threshold(np.arange(float(n)), rate) == n - k


@given(
    scores=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    rate=st.floats(0.01, 0.99),
    score=st.integers(-1, 13),
)
def test_a_score_is_above_the_threshold_exactly_where_its_p_value_is_within_the_budget(
    scores: list[int], rate: float, score: int
) -> None:
    ascending = reference(np.array(scores))
    try:
        limit = threshold(ascending, rate)
    except CalibrationError:
        assert len(scores) < fewest_rows(rate)
        return
    assert len(scores) >= fewest_rows(rate)
    assert bool(score > limit) == bool(p_values(ascending, np.array(float(score))) <= rate)


def test_a_calibration_that_is_too_small_is_refused_with_the_number_that_is_needed() -> None:
    threshold(np.arange(99.0), 0.01)
    with pytest.raises(CalibrationError, match=r"got 98 .* wanted at least 99 \(and 42\d\d for"):
        threshold(np.arange(98.0), 0.01)
    for rate in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(CalibrationError, match="wanted more than 0 and below 1"):
            threshold(NINE, rate)


def test_rows_for_a_rate_within_a_quarter_are_those_of_the_beta_distribution() -> None:
    # Upper figures by scipy.stats.beta, looked for one by one.
    assert wanted_rows(0.01) == pytest.approx(4220, rel=0.02)
    assert wanted_rows(0.001) == pytest.approx(42_600, rel=0.02)
    assert wanted_rows(0.1) < wanted_rows(0.05) < wanted_rows(0.01)


@pytest.mark.parametrize(("n", "rate"), [(60, 0.05), (500, 0.02), (2000, 0.01)])
def test_calibrations_realise_rates_as_the_beta_distribution_says(n: int, rate: float) -> None:
    draws, random = 2000, np.random.default_rng(n)
    low, high = realised(n, rate)
    # Uniform scores: a threshold t realises exactly the rate 1 - t.
    rates = np.array([1 - threshold(np.sort(random.random(n)), rate) for _ in range(draws)])
    inside = float(((low <= rates) & (rates <= high)).mean())
    assert inside == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / draws))
    # And on average over calibrations the budget is kept, and used.
    k = rank(n, rate)
    assert rates.mean() == pytest.approx(k / (n + 1), rel=0.05)
    assert k / (n + 1) <= rate


def test_ties_make_for_fewer_alarms_never_for_more() -> None:
    random = np.random.default_rng(1)
    rates = []
    for _ in range(300):
        limit = threshold(np.sort(random.integers(0, 6, 200)).astype(float), 0.1)
        rates.append(float((np.arange(6) > limit).mean()))
    assert np.mean(rates) <= 0.1
