"""Stopping early changes when sampling ends, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidParameter
from service.explain.config import ImageConfig
from service.explain.image import explain_image
from service.explain.perturb import sample_masks
from service.explain.stopping import confidence
from service.explain.surrogate import cosine_distances, kernel

#: Clearly apart, so that few samples tell their order.
TRUTH = np.array([8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0, 0.0])


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(30, 226, (1, 32, 32), np.uint8)


def blocks(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores that hang on sixteen blocks of the picture, each with its own share."""
    means = images.reshape(len(images), 4, 8, 4, 8).mean(axis=(2, 4)).reshape(len(images), 16)
    share = 2.0 ** -np.arange(16)
    first = (means / 255) @ share
    return np.column_stack([first, 1 - first]).astype(np.float32)


def configured(**more: object) -> ImageConfig:
    return replace(
        ImageConfig(segmentation="grid", num_samples=1000, num_features=6, hide_color=0, target=0),
        **more,  # type: ignore[arg-type]
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_what_is_stopped_early_is_lime_with_so_many_samples(seed: int) -> None:
    early = explain_image(picture(), blocks, configured(stop_confidence=0.8, seed=seed))
    exact = explain_image(
        picture(), blocks, configured(num_samples=early.samples_used, batch_size=50, seed=seed)
    )
    assert early.explanations == exact.explanations
    assert early.digests == exact.digests


def test_a_clear_order_ends_it_early_and_says_so() -> None:
    early = explain_image(picture(), blocks, configured(stop_confidence=0.8))
    full = explain_image(picture(), blocks, configured())
    assert early.samples_used <= 500
    assert early.stop_reason.startswith("top 5 settled")
    assert [s for s, _ in early.of().weights[:5]] == [s for s, _ in full.of().weights[:5]]
    assert full.stop_reason == "num_samples reached"


def test_noise_is_never_settled() -> None:
    noise = np.random.default_rng(0)

    def random(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return noise.random((len(images), 2)).astype(np.float32)

    answer = explain_image(picture(), random, configured(num_samples=400, stop_confidence=0.95))
    assert answer.samples_used == 400
    assert "before the order was settled" in answer.stop_reason


def test_a_score_that_does_not_move_has_no_order() -> None:
    answer = explain_image(
        picture(),
        lambda images: np.full((len(images), 2), 0.5, np.float32),
        configured(num_samples=300, stop_confidence=0.5),
    )
    assert answer.samples_used == 300


def test_confidence_grows_with_samples_and_is_about_right() -> None:
    shown = sample_masks(2000, len(TRUTH), 0).shown
    proximities = kernel(cosine_distances(shown), 0.25)
    random = np.random.default_rng(1)
    told = {100: 0.0, 400: 0.0, 1600: 0.0}
    kept = dict.fromkeys(told, 0)
    rounds = 60
    for _ in range(rounds):
        scores = shown @ TRUTH + random.normal(0, 2.5, len(shown))
        last = np.argsort(-np.abs(_ridge(shown, scores, proximities)))[:5]
        for n in told:
            told[n] += confidence(shown[:n], scores[:n], proximities[:n], 2000) / rounds
            now = np.argsort(-np.abs(_ridge(shown[:n], scores[:n], proximities[:n])))[:5]
            kept[n] += bool((now == last).all())
    assert told[100] < told[400] < told[1600]
    for n in told:
        assert kept[n] / rounds == pytest.approx(told[n], abs=0.2)


def _ridge(
    shown: NDArray[np.int64], scores: NDArray[np.float64], proximities: NDArray[np.float64]
) -> NDArray[np.float64]:
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=1).fit(shown, scores, sample_weight=proximities)
    weights: NDArray[np.float64] = fitted.coef_
    return weights


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0, float("nan")])
def test_what_is_no_chance_is_refused(value: float) -> None:
    with pytest.raises(InvalidParameter, match="stop_confidence"):
        ImageConfig(stop_confidence=value)
