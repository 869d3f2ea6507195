"""`lime` means lime: every figure equals upstream's LimeTabularExplainer bit for bit."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lime.lime_base import LimeBase
from lime.lime_tabular import LimeTabularExplainer
from numpy.typing import NDArray
from scipy.special import ndtri

from service.explain import truncated
from service.explain.background import TableBackground
from service.explain.feature_explanation import FeatureExplanation
from service.explain.surrogate import Surrogate, kernel
from service.explain.table import TableConfig, explain_table
from tests.explain.scorers import Rows, scorer
from tests.explain.upstream import said_by, said_by_us

KINDS = ["normal", "skewed", "whole", "tied", "far", "two values"]


def training_data(
    seed: int, rows: int, kinds: list[str], categorical: int
) -> tuple[NDArray[np.float64], list[int]]:
    """Columns of these kinds, then categorical ones."""
    draw = np.random.default_rng(seed)
    make = {
        "normal": lambda: draw.normal(3, 2, rows),
        "skewed": lambda: draw.exponential(1e-3, rows),
        "whole": lambda: draw.integers(0, 6, rows),
        "tied": lambda: np.maximum(draw.normal(size=rows), 0.4),
        "far": lambda: draw.normal(1e6, 1, rows),
        "two values": lambda: np.arange(rows) % 2 * 7.0,
    }
    columns = [make[kind]() for kind in kinds]
    columns += [draw.choice([0, 1, 2, 5], rows, p=[0.5, 0.2, 0.2, 0.1]) for _ in range(categorical)]
    return np.stack(columns, axis=1).astype(np.float64), list(
        range(len(kinds), len(kinds) + categorical)
    )


def upstream(
    data: NDArray[np.float64],
    categorical: list[int],
    row: NDArray[np.float64],
    predict: Rows,
    ours: FeatureExplanation,
) -> Any:
    """The same explanation by the package itself, from the training data."""
    asked = ours.parameters
    regression = predict(row[None]).ndim == 1
    explainer = LimeTabularExplainer(
        data,
        mode="regression" if regression else "classification",
        feature_names=[f"c{column}" for column in range(data.shape[1])],
        categorical_features=categorical,
        kernel_width=asked["kernel_width"],
        feature_selection=asked["feature_selection"],
        discretize_continuous=asked["discretizer"] != "none",
        discretizer=asked["discretizer"],
        sample_around_instance=asked["sample_around_row"],
        random_state=ours.seed,
    )
    target = {} if asked["target"] is None else {"labels": (asked["target"],)}
    return explainer.explain_instance(
        row,
        predict,
        top_labels=None if target else asked["top_labels"],
        num_features=asked["num_features"],
        num_samples=asked["num_samples"],
        **target,
    )


# The scores are not probabilities, and Ridge(alpha=0) on few samples is singular now and then.
@pytest.mark.filterwarnings("ignore:[\\s\\S]*Prediction probabilties:UserWarning")
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# A failing case is small as drawn: shrinking it would take minutes.
@settings(max_examples=120, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32 - 1),
    draw=st.integers(0, 10_000),
    kinds=st.lists(st.sampled_from(KINDS), max_size=9),
    categorical=st.integers(0, 3),
    discretizer=st.sampled_from(["quartile", "decile", "none", "around"]),
    selection=st.sampled_from(
        ["auto", "auto", "none", "forward_selection", "highest_weights", "lasso_path"]
    ),
    num_samples=st.integers(10, 300),
    num_features=st.one_of(st.none(), st.integers(1, 12)),
    kernel_width=st.one_of(st.none(), st.floats(0.3, 10)),
    choice=st.sampled_from(["top", "top 3", "target", "regression"]),
    batch_size=st.integers(1, 400),
    dtype=st.sampled_from([np.float32, np.float64]),
    curved=st.booleans(),
    narrow=st.booleans(),
)
def test_weights_are_upstreams_to_the_last_bit(
    seed: int,
    draw: int,
    kinds: list[str],
    categorical: int,
    discretizer: str,
    selection: str,
    num_samples: int,
    num_features: int | None,
    kernel_width: float | None,
    choice: str,
    batch_size: int,
    dtype: type,
    curved: bool,
    narrow: bool,
) -> None:
    kinds = kinds if kinds or categorical else ["normal"]
    data, categories = training_data(draw, 60, kinds, categorical)
    width = data.shape[1]
    background = TableBackground.fit(
        data,
        names=[f"c{column}" for column in range(width)],
        categorical=categories,
        discretizers=("quartile", "decile"),
    )
    # As it is stored: the statistics must survive JSON to the last bit.
    background = TableBackground.from_json(json.loads(json.dumps(background.to_json())))
    row = data[draw % 60].copy()
    if categories and draw % 3 == 0:
        row[-1] = 4  # a kind that never came in training
    scores = scorer(draw, width, 0 if choice == "regression" else 4, dtype, curved=curved)
    taken = np.float32 if narrow else np.float64

    def predict(rows: NDArray[Any]) -> NDArray[np.floating[Any]]:
        return scores(rows.astype(taken))

    config = TableConfig(
        discretizer="none" if discretizer == "around" else discretizer,
        sample_around_row=discretizer == "around",
        num_samples=num_samples,
        num_features=None
        if selection == "none" or num_features is None
        else min(num_features, width),
        feature_selection=selection,
        kernel_width=kernel_width,
        target=2 if choice == "target" else None,
        top_labels=3 if choice == "top 3" else 1,
        seed=seed,
        batch_size=batch_size,
    )
    ours = explain_table(row, predict, background, config, dtype=taken)
    theirs = upstream(data, categories, row, predict, ours)
    assert said_by_us(ours) == said_by(theirs, ours, choice == "regression")


@pytest.mark.filterwarnings("ignore:[\\s\\S]*Prediction probabilties:UserWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("discretizer", ["quartile", "decile", "none"])
def test_the_model_is_asked_about_upstreams_rows(discretizer: str, dtype: type) -> None:
    data, categorical = training_data(3, 200, KINDS * 15, 2)
    background = TableBackground.fit(
        data, categorical=categorical, discretizers=("quartile", "decile")
    )
    scores = scorer(1, data.shape[1], 2, np.float64, curved=True)
    asked: list[NDArray[Any]] = []

    def predict(rows: NDArray[Any]) -> NDArray[np.floating[Any]]:
        asked.append(rows.astype(dtype))
        return scores(asked[-1])

    config = TableConfig(discretizer=discretizer, num_samples=2000)
    ours = explain_table(data[7], predict, background, config, dtype=dtype)
    assert ours.parameters["input_dtype"] == np.dtype(dtype).name
    mine = np.concatenate(asked)
    asked.clear()
    theirs = upstream(data, categorical, data[7], predict, ours)
    assert np.array_equal(mine, asked[-1])
    found = [(int(f), float(w)) for f, w in theirs.local_exp[ours.of().label]]
    assert list(ours.of().weights) == found


def test_the_table_of_quantiles_is_as_exact_as_it_says() -> None:
    place = np.random.default_rng(0).uniform(0, truncated._CELLS, 1_000_000)
    cell = place.astype(int)
    powers = np.vander(place - cell, 4, increasing=True).T
    found = sum(row[cell] * power for row, power in zip(truncated._table(), powers, strict=True))
    span = truncated._HIGHEST - truncated._LOWEST
    expected = ndtri(truncated._LOWEST + place * (span / truncated._CELLS))
    # A tenth of the error that is allowed for: the rest is for scipy's own rounding.
    assert np.abs(found - expected).max() < truncated.TABLE_ERROR / 10


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(2, 40),
    kind=st.sampled_from(["binary", "numbers", "twins", "constant column", "constant score"]),
    num_features=st.integers(7, 40),
)
def test_the_ranking_by_gram_matrix_is_upstreams(
    seed: int, width: int, kind: str, num_features: int
) -> None:
    draw = np.random.default_rng(seed)
    data = (
        draw.normal(5, 3, (200, width)) if kind == "numbers" else draw.integers(0, 2, (200, width))
    )
    data[0] = 1
    if kind == "twins":
        data[:, 1] = data[:, 0]
    if kind == "constant column":
        data[:, 1] = 1
    score = data @ draw.normal(size=width) + draw.normal(size=200)
    scores = np.stack([np.full(200, 0.25) if kind == "constant score" else score, -score], axis=1)
    distances = np.linalg.norm(data - data[0], axis=1)
    data = data.astype(np.float64)
    theirs = LimeBase(partial(kernel, kernel_width=3.0)).explain_instance_with_data(
        data, scores, distances, 0, num_features, "highest_weights"
    )
    fit = Surrogate(data, distances, 3.0, "highest_weights").fit(scores, 0, num_features)
    assert fit.weights == tuple((int(f), float(w)) for f, w in theirs[1])
    assert (fit.intercept, fit.r2, fit.local_prediction) == (theirs[0], theirs[2], theirs[3][0])
