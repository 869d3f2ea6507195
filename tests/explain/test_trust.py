"""Quality on request: right on pictures whose truth is known, and the same bits every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.config import ImageConfig
from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.image import explain_image
from service.explain.trust import csi, faithfulness, stability, vsi

IMAGE = np.full((1, 32, 32), 200, np.uint8)
CONFIG = ImageConfig(
    segmentation="grid", num_samples=600, num_features=6, hide_color=0, target=0, batch_size=64
)


def corner(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A score that hangs on the upper left quarter alone, 0 to 1."""
    share = images[:, 0, :16, :16].mean(axis=(1, 2)) / 200
    return np.column_stack([share, 1 - share]).astype(np.float32)


def noise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A score that hangs on every pixel and on none: another for each picture, always the same."""
    keys = [hash(picture.tobytes()) % 1000 / 1000 for picture in images]
    return np.column_stack([keys, keys]).astype(np.float32)


def explained(predict: object = corner, **more: object) -> ImageExplanation:
    return explain_image(IMAGE, predict, replace(CONFIG, **more))  # type: ignore[arg-type]


def areas(predict: Any, explanation: ImageExplanation) -> tuple[float, float]:
    """Deletion and insertion, segments hidden in black."""

    def hide(masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        shown = masks[:, explanation.segments]
        return predict(np.where(shown[:, None] == 1, IMAGE, 0).astype(np.uint8))

    return faithfulness(explanation.of(), explanation.segment_count, hide)


def repeated(predict: Any, explanation: ImageExplanation, **more: object) -> tuple[float, float]:
    """VSI and CSI over four seeds."""
    seeds = [(explanation.seed + n) % 2**32 for n in (1, 2, 3)]
    others = [explained(predict, seed=seed, **more).of() for seed in seeds]
    return stability([explanation.of(), *others])


def test_a_true_order_falls_soon_and_rises_soon() -> None:
    explanation = explained()
    deletion, insertion = areas(corner, explanation)
    first = explanation.of()
    upside_down = replace(first, weights=tuple((s, -w) for s, w in first.weights))
    wrong = replace(explanation, explanations=(upside_down,))
    worst_deletion, worst_insertion = areas(corner, wrong)
    assert deletion < 0.3 < 0.6 < worst_deletion
    assert insertion > 0.7 > 0.4 > worst_insertion


def test_areas_are_those_of_the_trapezoid() -> None:
    explanation = explained()
    count = explanation.segment_count

    def constant(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(images), 2), 0.25, np.float32)

    assert areas(constant, explanation) == (0.25, 0.25)
    assert count >= 16


def test_a_clear_explanation_comes_again_and_noise_does_not() -> None:
    clear = repeated(corner, explained(num_features=4), num_features=4)
    vague = repeated(noise, explained(noise))
    assert clear[0] > 0.6
    assert clear[1] > 0.9
    assert vague[0] < clear[0]
    assert repeated(corner, explained(num_features=4), num_features=4) == clear


def label(weights: dict[int, float], error: float) -> LabelExplanation:
    return replace(
        explained(num_samples=50).of(),
        weights=tuple(weights.items()),
        weight_errors=(error,) * len(weights),
    )


def test_indices_by_hand() -> None:
    one, two = label({0: 1.0, 1: 0.5}, 0.1), label({0: 1.3, 2: 0.4}, 0.1)
    assert vsi([one, two]) == 0.5
    assert csi([one, two]) == 1.0  # 1 ± .196 and 1.3 ± .196 overlap
    assert csi([one, label({0: 1.5, 1: 0.5}, 0.1)]) == 0.5
    assert csi([one, label({7: 1.0, 8: 1.0}, 0.1)]) == 0.0
    assert vsi([one, one, one]) == csi([one, one, one]) == 1.0


def test_errors_of_the_weights_are_about_right() -> None:
    """Over many seeds the weights scatter as their standard errors say."""
    runs = [explained(num_samples=300, num_features=16, seed=seed).of() for seed in range(30)]
    for segment in (0, 1):
        weights = [dict(run.weights)[segment] for run in runs]
        errors = [
            dict(zip([s for s, _ in run.weights], run.weight_errors, strict=True))[segment]
            for run in runs
        ]
        # The surrogate is exact here but for its ridge, so both are small; neither is zero.
        assert np.std(weights) < 0.05
        assert np.mean(errors) < 0.05
        assert min(errors) >= 0


def test_what_an_older_release_stored_is_still_read() -> None:
    explanation = explained()
    stored = explanation.to_json()
    for one in stored["explanations"]:
        del one["weight_errors"]
    for name in ("deletion_auc", "insertion_auc", "repeats", "vsi", "csi"):
        del stored["quality"][name]
    again = ImageExplanation.from_parts(stored, explanation.arrays())
    assert again.of().weights == explanation.of().weights
    assert again.of().weight_errors == ()
    assert again.quality.vsi is None
