"""LIME for images: segment, perturb, predict, fit, judge.

For the same seed, segments and predict function the weights, intercept, R² and local
prediction are bit for bit those of `lime` 0.2.0.1's `LimeImageExplainer`. What differs
from upstream is named in `corrections`:

- `labels-from-zero`: segments are numbered without a gap, so that each can be hidden.
- `quickshift-seed-recorded`: the seed that upstream loses on its way is fixed and stated.
- `segmentation-fits-size`: `auto` chose the method; upstream's finds 1 segment in a digit.
- `any-channel-count`: upstream fails on pictures that have not exactly three channels.
- `quality-per-label`: upstream overwrites R² and local prediction with each label.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain import stopping
from service.explain.conclude import LIBRARIES, chosen_labels, conclude
from service.explain.config import ImageConfig
from service.explain.explanation import ImageExplanation, sha256
from service.explain.perturb import Composer, Masks, background, sample_masks
from service.explain.scoring import Scores, score
from service.explain.segment import Segmentation, segment
from service.explain.steps import Steps
from service.explain.surrogate import Surrogate, cosine_distances, kernel, selection

__all__ = ["ImageConfig", "ImageExplanation", "explain_image"]

Predict = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
#: The bits of an explanation hang on these.
_LIBRARIES = {**LIBRARIES, "scikit-image": version("scikit-image")}


def explain_image(
    image: NDArray[np.uint8],
    predict: Predict,
    config: ImageConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> ImageExplanation:
    """Explain a model's scores for one picture.

    Args:
        image: (C, H, W) uint8, any C >= 1.
        predict: (n, C, H, W) uint8 -> (n, K) finite floats, n <= batch_size. It must score
            each row by itself and must not keep its argument: the buffer is used again.
        config: see `ImageConfig`.
        progress: told (samples done, samples in all) after each batch; what it raises stops
            the explanation and passes through.
        deadline: `time.monotonic()` by which the answer must stand.

    Raises:
        InvalidParameter: a value is outside its range for this picture and model.
        ExplanationError: this picture cannot be explained in this way.
        DeadlineExceeded: `deadline` passed; checked between steps and batches.
    Source: Ribeiro et al. 2016, arXiv:1602.04938; lime 0.2.0.1.
    """
    steps = Steps(deadline, config.num_samples, progress)
    _check_image(image)
    segmentation = segment(image, config.segmentation)
    _check_features(config, segmentation)
    steps.end("segment")
    masks = sample_masks(config.num_samples, segmentation.count, config.seed)
    hidden = background(image, segmentation.labels, config.hide_color)
    batch_size = min(config.batch_size, config.num_samples)
    settled = _Settled(config, segmentation.count, masks.shown) if config.stop_confidence else None
    if settled:
        batch_size = min(batch_size, stopping.STEP)
    composer = Composer(image, hidden, segmentation.labels, batch_size)
    steps.end("sample")
    scores = score(
        lambda start, stop: composer.compose(masks.shown[start:stop]),
        config.num_samples,
        predict,
        batch_size,
        steps.batch,
        settled,
    )
    used = len(scores.values)
    if used < config.num_samples:
        # The very masks that upstream draws for so many samples: rows are prefix-stable.
        masks = sample_masks(used, segmentation.count, config.seed)
    steps.record(compose=scores.compose_s, predict=scores.predict_s)
    surrogate = Surrogate(masks.shown, cosine_distances(masks.shown), config.kernel_width)
    judged, quality = conclude(surrogate, scores.values, config, config.num_features)
    steps.end("surrogate")
    labels = [one.label for one in judged]
    digests = _digests(image, segmentation, masks, hidden, scores)
    steps.end("digest")
    return ImageExplanation(
        segments=segmentation.labels,
        explanations=judged,
        quality=quality,
        parameters=_parameters(config, segmentation, labels, batch_size),
        corrections=_corrections(image, segmentation, labels),
        digests=digests,
        seed=config.seed,
        samples_used=used,
        stop_reason=settled.reason(used) if settled else "num_samples reached",
        timings=steps.seconds(),
    )


def _check_image(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ExplanationError(
            f"image: got {image.dtype} of shape {image.shape}, wanted uint8 of shape "
            f"(channels, height, width). Send one decoded picture, channels first."
        )


def _check_features(config: ImageConfig, segmentation: Segmentation) -> None:
    if config.num_features > segmentation.count:
        raise InvalidParameter(
            f"parameter 'num_features': got {config.num_features}, but "
            f"'{segmentation.method}' found {segmentation.count} segments. "
            f"Ask for at most {segmentation.count}."
        )


def _digests(
    image: NDArray[np.uint8],
    segmentation: Segmentation,
    masks: Masks,
    hidden: NDArray[np.uint8],
    scores: Scores,
) -> dict[str, str]:
    return {
        "image": sha256(image),
        "segments": sha256(segmentation.labels),
        "masks": sha256(masks.shown.astype(np.uint8)),
        "background": sha256(hidden),
        "scores": sha256(scores.values),
        "rng_state": masks.state_sha256,
    }


def _parameters(
    config: ImageConfig, segmentation: Segmentation, labels: list[int], batch_size: int
) -> dict[str, Any]:
    """Everything that the result depends on, defaults resolved."""
    return {
        "method": "lime",
        "segmentation_requested": config.segmentation,
        "segmentation": segmentation.method,
        "segmentation_parameters": dict(segmentation.parameters),
        "segmentation_reason": segmentation.reason,
        "num_samples": config.num_samples,
        "stop_confidence": config.stop_confidence,
        "num_features": config.num_features,
        "target": config.target,
        "top_labels": config.top_labels,
        "labels": labels,
        "seed": config.seed,
        "random_generator": "MT19937, numpy RandomState",
        "hide_color": config.hide_color,
        "background": "segment mean" if config.hide_color is None else "hide_color",
        "batch_size": batch_size,
        "distance": "cosine",
        "kernel": "sqrt(exp(-d²/width²))",
        "kernel_width": config.kernel_width,
        "feature_selection": selection(config.num_features),
        "regressor": "Ridge(alpha=1, fit_intercept=True)",
        "libraries": dict(_LIBRARIES),
    }


def _corrections(
    image: NDArray[np.uint8], segmentation: Segmentation, labels: list[int]
) -> tuple[str, ...]:
    named = list(segmentation.corrections)
    if image.shape[0] != 3:
        named.append("any-channel-count")
    if len(labels) > 1:
        named.append("quality-per-label")
    return tuple(named)


class _Settled:
    """Asks after each batch whether the order of the strongest segments will stay."""

    def __init__(self, config: ImageConfig, segments: int, shown: NDArray[np.int64]) -> None:
        self._config = config
        self._shown = shown
        self._first = stopping.first_look(segments)
        self._proximities = kernel(cosine_distances(shown), config.kernel_width)
        self._top = min(stopping.TOP, config.num_features)
        self._confidence = 0.0

    def __call__(self, scores: NDArray[np.floating[Any]]) -> bool:
        """Whether these scores are enough."""
        done, total = len(scores), self._config.num_samples
        if done < self._first or done >= total:
            return False
        shown, proximities = self._shown[:done], self._proximities[:done]
        self._confidence = min(
            stopping.confidence(shown, scores[:, label], proximities, total, self._top)
            for label in chosen_labels(scores, self._config)
        )
        return self._confidence >= self._config.stop_confidence

    def reason(self, used: int) -> str:
        """Why sampling ended, in plain words."""
        total = self._config.num_samples
        if used == total:
            return "num_samples reached before the order was settled"
        return (
            f"top {self._top} settled: the order that {total} samples would give, with a nominal "
            f"chance of {self._confidence:.2f}"
        )
