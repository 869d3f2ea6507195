"""Distances of Gaussians that can be worked on paper, and what they say of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from training.frechet import Gaussian, frechet_distance, gaussian_of, likeness
from training.generation import nearest, novelty


def gaussian(mean: list[float], *variances: float) -> Gaussian:
    return Gaussian(np.array(mean, float), np.diag(variances))


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        # (m1 - m2)² + (s1 - s2)², for each axis
        (gaussian([0], 1), gaussian([0], 1), 0.0),
        (gaussian([1], 4), gaussian([4], 9), 9 + 1),
        (gaussian([0, 0], 1, 4), gaussian([3, 4], 4, 4), 25 + 1),
        (gaussian([0, 0], 0, 1), gaussian([0, 0], 9, 1), 9.0),
        (gaussian([0, 0], 0, 0), gaussian([1, 0], 0, 0), 1.0),
    ],
)
def test_axes_that_do_not_depend_on_each_other(
    one: Gaussian, other: Gaussian, distance: float
) -> None:
    assert frechet_distance(one, other) == pytest.approx(distance, abs=1e-12)
    assert frechet_distance(other, one) == pytest.approx(distance, abs=1e-12)


def test_two_axes_that_do_worked_by_hand() -> None:
    # C1 = [[2, 1], [1, 2]] has the eigenvalues 3 and 1; C2 = identity commutes with it, so that
    # tr(C1^½ C2 C1^½)^½ = sqrt(3) + 1.
    one = Gaussian(np.zeros(2), np.array([[2.0, 1], [1, 2]]))
    other = Gaussian(np.zeros(2), np.eye(2))
    assert frechet_distance(one, other) == pytest.approx(4 + 2 - 2 * (np.sqrt(3) + 1), abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 12))
def test_it_is_what_scipys_root_of_the_product_gives(seed: int, width: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (random.normal(size=(rows + width, width)) for _ in range(2))
    a, b = gaussian_of(one), gaussian_of(other * 2 + 1)
    crossed = np.trace(sqrtm(a.covariance @ b.covariance).real)
    wanted = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance) - 2 * crossed
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6, abs=1e-8)


def test_fewer_rows_than_features_are_no_hindrance() -> None:
    features = np.random.default_rng(0).normal(size=(5, 40))
    same = frechet_distance(gaussian_of(features), gaussian_of(features))
    assert same == pytest.approx(0, abs=1e-6)


def test_the_same_kind_has_a_ratio_of_one_and_another_kind_a_larger_one() -> None:
    random = np.random.default_rng(1)
    real, alike = random.normal(size=(400, 4)), random.normal(size=(400, 4))
    found = likeness(alike, real)
    assert found.rows == 200
    assert found.ratio == pytest.approx(1, abs=0.5)
    assert likeness(alike + 1, real).generated == pytest.approx(4, abs=1)
    assert likeness(alike, real) == likeness(alike, real), "its seed is fixed"


def test_copies_are_not_new() -> None:
    random = np.random.default_rng(2)
    known, seen = random.normal(size=(100, 3)), random.normal(size=(60, 3))
    assert novelty(known[:60] + 1e-3, seen, known) < 0.02
    assert novelty(random.normal(size=(60, 3)), seen, known) == pytest.approx(1, abs=0.4)
    found = nearest(known[:3], known)
    assert found.place.tolist() == [0, 1, 2]
    assert found.distance == pytest.approx(0, abs=1e-7)
