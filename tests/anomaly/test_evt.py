"""A fitted tail says of what order of magnitude rare scores are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from service.anomaly import evt
from service.anomaly.reference import reference
from service.errors import CalibrationError

RANDOM = np.random.default_rng(4)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2, 0.5])
def test_the_fit_is_that_of_scipy(shape: float) -> None:
    excesses = genpareto.rvs(shape, scale=2, size=400, random_state=1)
    found_shape, found_scale = evt._most_likely(excesses)
    wanted_shape, _, wanted_scale = genpareto.fit(excesses, floc=0)
    likelihood = genpareto.logpdf(excesses, found_shape, scale=found_scale).mean()
    best = genpareto.logpdf(excesses, wanted_shape, scale=wanted_scale).mean()
    assert likelihood >= best - 1e-6
    assert found_shape == pytest.approx(wanted_shape, abs=0.01)


def test_thresholds_beyond_all_scores_are_of_the_right_order_of_magnitude() -> None:
    scores = reference(RANDOM.exponential(size=3000))
    tail = evt.fit(scores)
    for rate in (1e-3, 1e-4, 1e-5):
        # An exponential exceeds t with probability exp(-t).
        realised = np.exp(-evt.threshold(tail, rate))
        assert rate / 10 < realised < 10 * rate


def test_p_values_are_ranks_up_to_the_tail_and_hang_together_there() -> None:
    scores = reference(RANDOM.gumbel(size=2000))
    tail = evt.fit(scores)
    grid = np.linspace(scores[0], scores[-1] * 2, 400)
    p = evt.tail_p_values(scores, tail, grid)
    assert (np.diff(p) <= 1e-3).all()
    assert p[0] == 1.0
    limit = evt.threshold(tail, 1e-4)
    assert evt.tail_p_values(scores, tail, np.array([limit]))[0] == pytest.approx(1e-4)


def test_a_tail_with_an_end_has_nothing_beyond_it() -> None:
    tail = evt.Tail(start=1.0, scale=1.0, shape=-0.5, above=0.02)
    # By hand: it ends at start + scale / 0.5 = 3.
    assert evt.tail_p_values(np.arange(2.0), tail, np.array([2.999, 3.0, 9.0]))[1:].tolist() == [
        0.0, 0.0,
    ]  # fmt: skip
    # A quarter of the way to nothing: 0.02 * (1 - 0.5 * 1) ** 2.
    assert evt.tail_p_values(np.arange(2.0), tail, np.array([2.0]))[0] == pytest.approx(0.005)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(CalibrationError, match="got 150 .* wanted at least 200"):
        evt.fit(np.arange(150.0))
    with pytest.raises(CalibrationError, match="only 0 of the 20 highest"):
        evt.fit(np.ones(1000))
    tail = evt.fit(reference(RANDOM.exponential(size=1000)))
    with pytest.raises(CalibrationError, match="the share that is the tail"):
        evt.threshold(tail, 0.1)
