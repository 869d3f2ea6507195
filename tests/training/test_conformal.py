"""Intervals: the margin as worked by hand, and the stated rate over many draws of units."""

from __future__ import annotations

import numpy as np
import pytest

from training.conformal import at, coverage, factors, spread
from training.options import WrongOption


def test_the_factor_of_single_rows_is_the_order_statistic_of_split_conformal() -> None:
    scores = np.arange(1.0, 20.0)[:, np.newaxis]  # 19 units of one row
    # ceil((19 + 1) * 0.9) = 18: the 18th smallest
    assert factors(scores, np.arange(19), 0.9).tolist() == [18.0]
    assert factors(scores[:9], np.arange(9), 0.9).tolist() == [9.0]


def test_each_unit_counts_as_one_whatever_its_length() -> None:
    # Ten units: nine of one row with error 1, one of a thousand rows with error 100.
    scores = np.array([1.0] * 9 + [100.0] * 1000)[:, np.newaxis]
    owners = np.array([*range(9), *[9] * 1000])
    assert factors(scores, owners, 0.89).tolist() == [1.0]  # 9 of 10 are enough, all but
    assert factors(scores, owners, 0.9).tolist() == [100.0]


def test_too_few_units_are_refused() -> None:
    with pytest.raises(WrongOption, match="0.9 with 8 held-out sequences, wanted at least 9"):
        factors(np.ones((80, 1)), np.repeat(np.arange(8), 10), 0.9)


def test_the_width_follows_the_errors_along_the_value() -> None:
    random = np.random.default_rng(0)
    value = random.uniform(0, 10, (4000, 1))
    knots, sizes = spread(value, random.normal(size=(4000, 1)) * (1 + value))
    assert knots.shape == sizes.shape == (8, 1)
    assert (np.diff(knots[:, 0]) > 0).all()
    wanted = np.sqrt(2 / np.pi) * (1 + knots)
    np.testing.assert_allclose(sizes, wanted, rtol=0.15)
    assert at(np.array([[-5.0], [99.0]]), knots, sizes).ravel() == pytest.approx(sizes[[0, -1], 0])


@pytest.mark.parametrize(("longest", "low", "high"), [(1, 0.9, 0.93), (40, 0.87, 0.92)])
def test_the_stated_rate_is_held_over_draws_of_units(longest: int, low: float, high: float) -> None:
    """Runs whose windows share an error: coverage of new runs, averaged over 400 draws."""
    random = np.random.default_rng(1)

    def runs(count: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(1, longest + 1, count)
        owners = np.repeat(np.arange(count), lengths)
        shared = random.normal(size=count)[owners] + 0.5 * random.normal(size=len(owners))
        return shared[:, np.newaxis], owners

    found = []
    for _ in range(400):
        errors, owners = runs(30)
        width = factors(np.abs(errors), owners, 0.9)
        new, its = runs(50)
        found.append((np.bincount(its, coverage_of(new, width)) / np.bincount(its)).mean())
    assert low <= np.mean(found) <= high, np.mean(found)


def coverage_of(errors: np.ndarray, width: np.ndarray) -> np.ndarray:
    return (np.abs(errors) <= width).ravel().astype(float)


def test_coverage_counts_the_ends() -> None:
    lower, upper = np.array([0.0, 0, 0, 0]), np.array([1.0, 1, 1, 1])
    assert coverage(lower, upper, np.array([0.0, 1, 2, -1])) == 0.5
