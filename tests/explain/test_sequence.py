"""A window explained: what is said of its stretches, and what is refused and how."""

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import DeadlineExceeded, ExplanationError, InvalidParameter
from service.explain.feature_explanation import FeatureExplanation
from service.explain.sequence import (
    SegmentsConfig,
    explain_segments,
    explain_steps,
    steps_background,
)
from service.explain.table import TableConfig
from service.explain.windows import BACKGROUNDS, Segments, WindowHider

STEPS = np.arange(60)
#: A quiet channel and one with a bump at steps 30 to 35.
WINDOW = np.stack(
    [0.1 * np.sin(STEPS), np.where((STEPS >= 30) & (STEPS < 36), 5.0, 0.0)], axis=1
).astype(np.float32)


def bump(windows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Mean of channel 1 where its bump is."""
    answer: NDArray[np.floating[Any]] = windows[:, 30:36, 1].mean(axis=1)
    return answer


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_stretch_that_matters_is_found(background: str) -> None:
    ours = explain_segments(WINDOW, bump, SegmentsConfig(background=background, usual=(0.0, 0.5)))
    first = ours.features[ours.of().weights[0][0]]
    assert (first.channel, first.spans) == (1, ((30, 36),))
    # Hidden it holds the channel's mean, 0.5, or about 0 by its neighbours: the score loses that.
    assert ours.of().weights[0][1] == pytest.approx(4.5, abs=0.6)
    assert ours.parameters["method"] == ours.to_json()["method"] == "lime-segments"
    assert ours.parameters["background"] == background


@pytest.mark.parametrize("steps", [7, 60, 61, 1000])
def test_windows_of_any_length_are_cut_into_even_pieces(steps: int) -> None:
    window = np.random.default_rng(0).normal(size=(steps, 2))
    ours = explain_segments(window, lambda rows: rows[:, 0, 0], SegmentsConfig(num_samples=200))
    spans = [one.spans[0] for one in ours.features if one.channel == 0]
    assert spans[0][0] == 0
    assert spans[-1][1] == steps
    assert all(stop == start for (_, stop), (start, _) in zip(spans, spans[1:], strict=False))
    lengths = {stop - start for start, stop in spans}
    assert max(lengths) - min(lengths) <= 1
    assert len(spans) <= 10


def test_channels_together_are_hidden_at_once() -> None:
    seen: list[NDArray[Any]] = []

    def predict(rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        seen.append(rows)
        return bump(rows)

    config = SegmentsConfig(channels_together=True, segment_steps=6, num_samples=100)
    ours = explain_segments(WINDOW, predict, config)
    assert len(ours.features) == 10
    assert ours.reasons()[0][0] == "all channels, steps 30 to 35"
    changed = np.concatenate(seen) != WINDOW
    assert (changed[:, 1, 0] == changed[:, 5, 0]).all()
    assert seen[0].dtype == WINDOW.dtype


@pytest.mark.parametrize(
    ("shown", "expected"),  # by hand: pieces of 2 steps, 0 2 | 4 6 | 8 10 | 12 20; mean 7.75
    [
        ([1, 1, 1, 1], [0, 2, 4, 6, 8, 10, 12, 20]),
        ([1, 0, 1, 1], [0, 2, 4, 6, 8, 10, 12, 20]),
        ([1, 0, 0, 1], [0, 2, 4, 6, 8, 10, 12, 20]),
        ([0, 1, 1, 0], [4, 4, 4, 6, 8, 10, 10, 10]),
        ([1, 0, 1, 0], [0, 2, 4, 6, 8, 10, 10, 10]),
        ([0, 0, 0, 1], [12, 12, 12, 12, 12, 12, 12, 20]),
        ([0, 0, 0, 0], [7.75] * 8),
    ],
)
def test_interpolation_worked_by_hand(shown: list[int], expected: list[float]) -> None:
    window = np.array([0, 2, 4, 6, 8, 10, 12, 20.0])[:, None]
    segments = Segments.of(8, 1, 2, together=False)
    hider = WindowHider(window, segments, "interpolation", np.random.RandomState(0))
    assert hider.windows(np.array([shown]))[0, :, 0] == pytest.approx(expected)


def test_interpolation_knows_each_channels_own_neighbours() -> None:
    window = np.stack([np.arange(6.0), 10 - np.arange(6.0) ** 2], axis=1)
    segments = Segments.of(6, 2, 2, together=False)
    hider = WindowHider(window, segments, "interpolation", np.random.RandomState(0))
    hidden = hider.windows(np.array([[1, 1, 0, 1, 0, 1]]))[0]
    assert hidden[:, 0].tolist() == [0, 1, 2, 3, 3, 3]
    # From 9 at step 1 to -6 at step 4: 5 less a step.
    assert hidden[:, 1].tolist() == [10, 9, 4, -1, -6, -15]


def test_a_window_that_is_too_low_throughout_is_explained_by_what_is_usual() -> None:
    window = WINDOW.copy()
    window[:, 1] = -4.0

    def level(windows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        answer: NDArray[np.floating[Any]] = np.square(windows[:, :, 1].mean(axis=1))
        return answer

    config = SegmentsConfig(background="usual", usual=(0.0, 0.0))
    ours = explain_segments(window, level, config)
    # Ten stretches of it, each a tenth of 16 but for what they share; the other channel is nothing.
    strongest = ours.of().weights[:10]
    assert {ours.features[at].channel for at, _ in strongest} == {1}
    assert all(weight > 0.4 for _, weight in strongest)
    assert ours.parameters["usual"] == [0.0, 0.0]
    by_mean = explain_segments(window, level, SegmentsConfig(background="mean"))
    assert max(abs(weight) for _, weight in by_mean.of().weights) < 1e-6


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_batch_size_changes_nothing_and_answers_survive_json(background: str) -> None:
    config = SegmentsConfig(num_samples=101, seed=3, background=background, usual=(0.0, 0.5))
    one = explain_segments(WINDOW, bump, replace(config, batch_size=101))
    other = explain_segments(WINDOW, bump, replace(config, batch_size=7))
    assert one.explanations == other.explanations
    assert one.digests == other.digests
    assert FeatureExplanation.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_samples": 0}, "'num_samples': got 0"),
        ({"num_samples": 10**9}, "'num_samples': got 1000000000"),
        ({"num_features": 21}, "got 21, but there are 20 segments"),
        ({"segment_steps": 61}, "got 61, but the window has 60 steps"),
        ({"segment_steps": 0}, "'segment_steps': got 0"),
        ({"background": "zero"}, "wanted one of mean, interpolation, noise, usual"),
        ({"background": "usual", "usual": (1.0,)}, "usual of 1 channels, and the window has 2"),
        ({"target": 1}, "'target': got 1, wanted 0 to 0"),
    ],
)
def test_parameters_outside_their_range_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        explain_segments(WINDOW, bump, SegmentsConfig(**wrong))


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (np.zeros((0, 2)), "shape \\(0, 2\\), wanted floats of shape \\(steps, channels\\)"),
        (np.zeros(5), "shape \\(5,\\)"),
        (np.zeros((5, 2), int), "got int64"),
        (np.array([[1.0, 2], [3, np.inf]]), "got inf at step 1 of channel 1"),
        (np.full((50, 2), 3.0), "channels that never change"),
        (np.array([[1.0]]), "got 1 segments"),
    ],
)
def test_windows_that_cannot_be_explained_are_refused(window: NDArray[Any], words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        explain_segments(window, lambda rows: rows[:, 0, 0], SegmentsConfig())


def test_a_background_of_another_length_or_without_sense_is_refused() -> None:
    windows = np.random.default_rng(0).normal(size=(20, 6, 2))
    background = steps_background(windows)
    with pytest.raises(ExplanationError, match="5 steps of 2 channels, .* have 12 columns"):
        explain_steps(windows[0, :5], lambda rows: rows[:, 0, 0], background, TableConfig())
    with pytest.raises(ExplanationError, match="wanted \\(rows, steps, channels\\)"):
        steps_background(windows[0])
    with pytest.raises(ExplanationError, match="got 1 names .* for 2 channels"):
        steps_background(windows, names=["a"])
    windows[:, 2, 1] = 4
    with pytest.raises(ExplanationError, match="'channel 1_t-3' is 4 in all 20 rows"):
        steps_background(windows)


def test_time_that_runs_out_ends_it() -> None:
    with pytest.raises(DeadlineExceeded, match="Lower num_samples"):
        explain_segments(WINDOW, bump, SegmentsConfig(), deadline=time.monotonic() - 1)
