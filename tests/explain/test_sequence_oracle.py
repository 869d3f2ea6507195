"""`lime` means lime: every figure equals upstream's RecurrentTabularExplainer bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lime.lime_tabular import RecurrentTabularExplainer
from numpy.typing import NDArray

from service.explain.sequence import explain_steps, steps_background
from service.explain.table import TableConfig
from tests.explain.scorers import scorer
from tests.explain.upstream import said_by, said_by_us


def training_windows(seed: int, steps: int, channels: int, kinds: int) -> NDArray[np.float64]:
    """(60, steps, channels + kinds): walks of numbers, then channels of kinds 0 to 2."""
    draw = np.random.default_rng(seed)
    walks = draw.normal(size=(60, steps, channels)).cumsum(axis=1) + draw.normal(size=channels)
    return np.concatenate([walks, draw.integers(0, 3, (60, steps, kinds))], axis=2)


@pytest.mark.filterwarnings("ignore:[\\s\\S]*Prediction probabilties:UserWarning")
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix:UserWarning")
# A failing case is small as drawn: shrinking it would take minutes.
@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32 - 1),
    draw=st.integers(0, 10_000),
    steps=st.integers(1, 12),
    channels=st.integers(1, 3),
    kinds=st.integers(0, 1),
    discretizer=st.sampled_from(["quartile", "decile", "none"]),
    selection=st.sampled_from(["auto", "none", "forward_selection", "highest_weights"]),
    num_samples=st.integers(10, 300),
    num_features=st.one_of(st.none(), st.integers(1, 12)),
    choice=st.sampled_from(["top", "top 3", "target", "regression"]),
    batch_size=st.integers(1, 400),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_weights_are_upstreams_to_the_last_bit(
    seed: int,
    draw: int,
    steps: int,
    channels: int,
    kinds: int,
    discretizer: str,
    selection: str,
    num_samples: int,
    num_features: int | None,
    choice: str,
    batch_size: int,
    dtype: type,
) -> None:
    windows = training_windows(draw, steps, channels, kinds)
    window = windows[draw % 60]
    names = [f"c{channel}" for channel in range(channels + kinds)]
    columns = steps * (channels + kinds)
    flat = scorer(draw, columns, 0 if choice == "regression" else 4, dtype, curved=True)

    def predict(rows: NDArray[Any]) -> NDArray[np.floating[Any]]:
        assert rows.shape[1:] == window.shape
        return flat(rows.reshape(len(rows), -1))

    config = TableConfig(
        discretizer=discretizer,
        num_samples=num_samples,
        num_features=None
        if selection == "none" or num_features is None
        else min(num_features, columns),
        feature_selection=selection,
        target=2 if choice == "target" else None,
        top_labels=3 if choice == "top 3" else 1,
        seed=seed,
        batch_size=batch_size,
    )
    background = steps_background(
        windows,
        names=names,
        categorical=list(range(channels, channels + kinds)),
        discretizers=("quartile", "decile"),
    )
    ours = explain_steps(window, predict, background, config)
    asked = ours.parameters
    target = {"labels": (2,)} if choice == "target" else {}
    theirs = RecurrentTabularExplainer(
        windows,
        mode="regression" if choice == "regression" else "classification",
        feature_names=names,
        # As it must be told for it to mean the channel; see `corrections`.
        categorical_features=list(range(channels * steps, columns)),
        feature_selection=asked["feature_selection"],
        discretize_continuous=discretizer != "none",
        discretizer=discretizer,
        random_state=seed,
    ).explain_instance(
        window,
        predict,
        top_labels=None if target else asked["top_labels"],
        num_features=asked["num_features"],
        num_samples=num_samples,
        **target,
    )
    assert said_by_us(ours) == said_by(theirs, ours, choice == "regression")
    assert ("categorical-channels" in ours.corrections) == (kinds > 0)


def test_windows_without_names_which_upstream_cannot_explain() -> None:
    windows = training_windows(1, 5, 2, 0)
    with pytest.raises(TypeError, match="not iterable"):
        RecurrentTabularExplainer(windows)
    ours = explain_steps(
        windows[0],
        lambda rows: rows[:, 3, 1] * 2.0,
        steps_background(windows, discretizers=()),
        TableConfig(num_samples=500),
    )
    at, weight = ours.of().weights[0]
    assert (ours.features[at].name, ours.features[at].spans) == ("channel 1_t-1", ((3, 4),))
    assert weight > 1
    assert ours.corrections == ("channels-named",)
