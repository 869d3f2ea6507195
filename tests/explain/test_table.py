"""A table row explained: what is said of it, and what is refused and how."""

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import Conflict, DeadlineExceeded, ExplanationError, InvalidParameter
from service.explain.background import TableBackground
from service.explain.feature_explanation import FeatureExplanation
from service.explain.table import TableConfig, explain_table

DRAW = np.random.default_rng(0)
TABLE = np.column_stack([DRAW.normal(10, 2, 400), DRAW.normal(0, 1, 400), DRAW.integers(0, 3, 400)])
BACKGROUND = TableBackground.fit(
    TABLE,
    names=["width", "height", "colour"],
    categorical=[2],
    categorical_names={2: ["red", "green", "blue"]},
)
ROW = np.array([14.0, 0.1, 1.0])


def by_width_and_colour(rows: NDArray[Any]) -> NDArray[np.float64]:
    """One output: +3 where width is in its upper quarter, +1 where the colour is green."""
    wide = rows[:, 0] > BACKGROUND.bins["quartile"][0].edges[-1]
    answer: NDArray[np.float64] = 3.0 * wide + 1.0 * (rows[:, 2] == 1)
    return answer


def test_a_model_that_adds_is_explained_by_its_own_numbers() -> None:
    ours = explain_table(ROW, by_width_and_colour, BACKGROUND, TableConfig())
    (width, three), (colour, one), (_, nothing) = ours.reasons()
    assert width == f"width > {BACKGROUND.bins['quartile'][0].edges[-1]:.2f}"
    assert colour == "colour=green"
    # A ridge of penalty 1 on 5000 samples shrinks by a few thousandths.
    assert (three, one, nothing) == pytest.approx((3, 1, 0), abs=0.02)
    assert ours.of().r2 > 0.999
    assert ours.of().verdict == "stable"
    assert ours.features[2].value == "green"


def test_tied_values_reach_the_model_when_asked() -> None:
    table = np.column_stack([np.maximum(DRAW.normal(size=300), 0.5), DRAW.normal(size=300)])
    background = TableBackground.fit(table)
    asked: list[NDArray[Any]] = []

    def predict(rows: NDArray[Any]) -> NDArray[np.float64]:
        asked.append(rows.copy())
        return rows.sum(axis=1)

    config = TableConfig(num_samples=500)
    upstreams = explain_table(table[0], predict, background, config)
    kept = explain_table(table[0], predict, background, replace(config, keep_tied_values=True))
    # As upstream has it the model is shown 0, which no row of the table holds.
    assert (asked[0][1:, 0] == 0).any()
    assert (asked[1][:, 0] >= 0.5).all()
    assert "column '0': its lowest bin holds 0.5 alone" in upstreams.warnings[0]
    assert (kept.warnings, kept.corrections) == ((), ("tied-values-kept",))


def test_the_same_request_gives_the_same_answer_and_survives_json() -> None:
    config = TableConfig(num_samples=300, seed=5)
    first = explain_table(ROW, by_width_and_colour, BACKGROUND, config)
    second = explain_table(ROW, by_width_and_colour, BACKGROUND, config)
    assert replace(first, timings={}) == replace(second, timings={})
    stored = FeatureExplanation.from_json(json.loads(json.dumps(first.to_json())))
    assert stored.to_json() == first.to_json()
    assert stored.reasons() == first.reasons()
    with pytest.raises(Conflict, match="modality 'image'"):
        FeatureExplanation.from_json({**first.to_json(), "modality": "image"})


def test_a_score_that_does_not_move_is_said_so() -> None:
    ours = explain_table(
        ROW, lambda rows: np.full(len(rows), 0.3), BACKGROUND, TableConfig(num_samples=100)
    )
    assert "changing the columns hardly moves the score" in ours.of().verdict


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_samples": 0}, "'num_samples': got 0, wanted 10 to 1000000"),
        ({"num_samples": 10**9}, "'num_samples': got 1000000000"),
        ({"num_features": 4}, "got 4, but there are 3 columns. Ask for at most 3"),
        ({"num_features": 0}, "'num_features': got 0"),
        ({"num_features": 2, "feature_selection": "none"}, "keeps every feature"),
        ({"feature_selection": "best"}, "got 'best', wanted one of auto, none"),
        ({"discretizer": "decile"}, "statistics have quartile, none"),
        ({"sample_around_row": True}, "drawn within bins of discretizer 'quartile'"),
        ({"keep_tied_values": True, "discretizer": "none"}, "there are no bins"),
        ({"target": 2}, "'target': got 2, wanted 0 to 0"),
        ({"top_labels": 2}, "'top_labels': got 2, wanted 1 to 1"),
        ({"kernel_width": 0.0}, "'kernel_width': got 0.0, wanted more than 0"),
        ({"seed": -1}, "'seed': got -1"),
    ],
)
def test_parameters_outside_their_range_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        explain_table(ROW, by_width_and_colour, BACKGROUND, TableConfig(**wrong))


def test_more_samples_than_fit_in_memory_are_refused() -> None:
    wide = TableBackground.fit(DRAW.normal(size=(20, 200)))
    with pytest.raises(InvalidParameter, match="Lower num_samples to at most 500000"):
        explain_table(
            np.zeros(200), lambda rows: rows[:, 0], wide, TableConfig(num_samples=1_000_000)
        )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (np.zeros(4), "got float64 of shape \\(4,\\), but the background statistics have 3"),
        (np.zeros((1, 3)), "shape \\(1, 3\\)"),
        (np.array(["a", "b", "c"]), "got <U1 of shape"),
        (np.array([1, np.nan, 0]), "got nan in column 'height', wanted a finite number"),
        (np.array([1, 2, 0.5]), "got 0.5 in categorical column 'colour'"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row: NDArray[Any], words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        explain_table(row, by_width_and_colour, BACKGROUND, TableConfig())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda rows: np.zeros((len(rows) + 1, 2)), "wanted floats of shape \\(512, any\\)"),
        (lambda rows: np.zeros(len(rows), int), "got int64"),
        (lambda rows: np.full(len(rows), np.nan), "got NaN or infinity"),
    ],
)
def test_models_that_answer_otherwise_are_refused(answer: Any, words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        explain_table(ROW, answer, BACKGROUND, TableConfig())


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (np.zeros(3), {}, "shape \\(3,\\), wanted numbers of shape \\(rows, columns\\)"),
        (np.array([[1.0, 5], [2, 5]]), {}, "column '1' is 5 in all 2 rows, wanted values"),
        (np.array([[1.0, np.nan], [2, 5]]), {}, "NaN or infinity in the columns \\[1\\]"),
        (np.array([[1.0, 0.5], [2, 1]]), {"categorical": [1]}, "column '1' holds 0.5, wanted"),
        (np.eye(2), {"categorical": [2]}, "categorical columns \\[2\\], wanted indices"),
        (np.eye(2), {"names": ["a"]}, "got 1 names for 2 columns"),
    ],
)
def test_training_data_that_gives_no_background_is_refused(
    data: NDArray[Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExplanationError, match=words):
        TableBackground.fit(data, **options)


def damaged(path: list[Any], value: Any) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(json.dumps(BACKGROUND.to_json()))
    at = stored
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return stored


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["names"], ["a", "b"], "2 names, 3 means, 3 scales"),
        (["scales", 0], 0, "scales must be above 0"),
        (["means", 1], "much", "means.1"),
        (["bins", "quartile", "0", "edges"], [3, 2, 1], "edges must be .* that rise"),
        (["bins", "quartile", "0", "stds"], [1.0], "need 4 means, stds"),
        (["bins", "quartile", "0", "stds", 0], -1, "stds must be above 0"),
        (["bins", "quartile", "0", "mins", 0], 1e9, "a bin's min is above its max"),
        (["bins", "quartile", "0", "used", "values", 0], 9, "must be among 0 to 3"),
        (["bins", "quartile"], {}, "'quartile' has bins of the columns \\[\\]"),
        (["categorical", "2", "counts"], [0, 0, 0], "nor all 0"),
        (["bins", "entropy"], {}, "bins.entropy"),
        (["rows"], 7, "rows: Extra inputs"),
    ],
)
def test_damaged_backgrounds_are_refused(path: list[Any], value: Any, words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        TableBackground.from_json(damaged(path, value))


def test_time_that_runs_out_and_a_caller_who_leaves_end_it() -> None:
    with pytest.raises(DeadlineExceeded, match="Lower num_samples"):
        explain_table(
            ROW, by_width_and_colour, BACKGROUND, TableConfig(), deadline=time.monotonic() - 1
        )

    def leave(done: int, total: int) -> None:
        assert (done, total) == (512, 5000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_table(ROW, by_width_and_colour, BACKGROUND, TableConfig(), progress=leave)
