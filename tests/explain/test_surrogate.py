"""The screened forward selection chooses what upstream chooses, ties and all."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lime.lime_base import LimeBase
from numpy.typing import NDArray

from service.explain.surrogate import Surrogate, cosine_distances, kernel, selection


def data(
    seed: int, samples: int, segments: int, kind: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    draw = np.random.default_rng(seed)
    shown = draw.integers(0, 2, (samples, segments))
    shown[0] = 1
    if kind == "twin columns":
        shown[:, 1] = shown[:, 0]
    score = shown @ draw.normal(size=segments) + draw.normal(size=samples) * 0.3
    if kind == "one column":
        score = shown[:, 2] * 0.7 + 0.1
    elif kind == "constant":
        score = np.full(samples, 0.3)
    elif kind == "nearly constant":
        score = 0.5 + 1e-9 * score
    return shown, np.stack([score, -score], axis=1)


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(30, 200),
    segments=st.integers(4, 14),
    num_features=st.integers(1, 6),
    kind=st.sampled_from(["noisy", "twin columns", "one column", "constant", "nearly constant"]),
    width=st.sampled_from([0.1, 0.25, 1.0]),
)
def test_forward_selection_is_upstreams(
    seed: int, samples: int, segments: int, num_features: int, kind: str, width: float
) -> None:
    shown, scores = data(seed, samples, segments, kind)
    distances = cosine_distances(shown)
    ours = Surrogate(shown, distances, width)
    theirs = LimeBase(partial(kernel, kernel_width=width))
    expected = theirs.explain_instance_with_data(shown, scores, distances, 0, num_features)
    fit = ours.fit(scores, 0, num_features)
    assert fit.weights == tuple((int(s), float(w)) for s, w in expected[1])
    assert (fit.intercept, fit.r2, fit.local_prediction) == (
        expected[0],
        expected[2],
        expected[3][0],
    )


@pytest.mark.parametrize(
    ("distance", "weight"),  # by hand: exp(-d²/0.0625) under a root is exp(-8 d²)
    [(0.0, 1.0), (0.25, 0.6065306597126334), (0.5, 0.1353352832366127), (1.0, 3.3546262790251e-4)],
)
def test_kernel_matches_values_worked_by_hand(distance: float, weight: float) -> None:
    assert kernel(np.array([distance]), 0.25)[0] == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize(
    ("num_features", "method"), [(6, "forward_selection"), (7, "highest_weights")]
)
def test_auto_selection_changes_at_seven_features(num_features: int, method: str) -> None:
    assert selection(num_features) == method
