"""From scored samples to an explanation: which outputs, the fits, how far they are trusted."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.explain.config import within
from service.explain.explanation import LabelExplanation, Quality
from service.explain.feature_config import FeatureConfig
from service.explain.quality import UNMOVED, effective_sample_size, judge
from service.explain.surrogate import Surrogate, one_blas_thread, selection

#: The bits of an explanation hang on these.
LIBRARIES = {name: version(name) for name in ("lime", "numpy", "scikit-learn", "scipy")}


class Labels(Protocol):
    """Which outputs are to be explained, and what they are called."""

    @property
    def target(self) -> int | None:
        """Index of the one output; None = the `top_labels` highest scores."""

    @property
    def top_labels(self) -> int:
        """How many outputs."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs in their order."""


def conclude(
    surrogate: Surrogate,
    scores: NDArray[np.floating[Any]],
    config: Labels,
    num_features: int,
    unmoved: str = UNMOVED,
) -> tuple[tuple[LabelExplanation, ...], Quality]:
    """Fit and judge every output that was asked for, the highest score first.

    Args:
        surrogate: of the samples.
        scores: (N, K).
        config: what was asked for.
        num_features: features in the answer, as resolved.
        unmoved: what to say of a score that does not move, with a place for `spread`.

    Raises:
        InvalidParameter: the model has fewer outputs than were asked for.
    """
    labels = chosen_labels(scores, config)
    with one_blas_thread():
        judged = tuple(
            judge(
                surrogate,
                surrogate.fit(scores, label, num_features),
                scores,
                label,
                config.labels[label] if label < len(config.labels) else f"output {label}",
                num_features,
                unmoved,
            )
            for label in labels
        )
    effective = effective_sample_size(surrogate.proximities)
    worst = min(judged, key=lambda one: (one.verdict == "stable", one.r2))
    samples = surrogate.proximities.size
    return judged, Quality(
        effective_sample_size=effective,
        effective_share=effective / samples,
        samples_per_segment=samples / surrogate.segments,
        r2=worst.r2,
        split_stability=worst.split_stability,
        verdict=worst.verdict,
    )


def chosen_labels(scores: NDArray[np.floating[Any]], config: Labels) -> list[int]:
    """Columns of `scores` to explain."""
    outputs = scores.shape[1]
    if config.target is not None:
        within("target", config.target, 0, outputs - 1)
        return [config.target]
    within("top_labels", config.top_labels, 1, outputs)
    # Upstream's very expression: it decides between equal scores.
    return [int(label) for label in np.argsort(scores[0])[-config.top_labels :]][::-1]


def parameters(
    config: FeatureConfig,
    labels: tuple[LabelExplanation, ...],
    *,
    num_features: int,
    kernel_width: float,
    distance: str,
    **own: Any,
) -> dict[str, Any]:
    """Everything that the result depends on, defaults resolved; `own` is the modality's."""
    chosen = config.feature_selection
    return {
        "method": "lime",
        **own,
        "num_samples": config.num_samples,
        "num_features": num_features,
        "target": config.target,
        "top_labels": config.top_labels,
        "labels": [one.label for one in labels],
        "seed": config.seed,
        "random_generator": "MT19937, numpy RandomState",
        "batch_size": config.batch_size,
        "distance": distance,
        "kernel": "sqrt(exp(-d²/width²))",
        "kernel_width": kernel_width,
        "feature_selection": selection(num_features) if chosen == "auto" else chosen,
        "regressor": "Ridge(alpha=1, fit_intercept=True)",
        "libraries": dict(LIBRARIES),
    }
