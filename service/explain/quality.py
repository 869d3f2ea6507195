"""How far an explanation can be trusted: fit, stability, and both in plain words.

Fit is not stability: few samples give a high R² and a ranking that the next seed
overturns; many samples the reverse. So both stand in every answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.explanation import LabelExplanation
from service.explain.moments import Fit
from service.explain.surrogate import Surrogate

#: Shares of the score's variance below which a surrogate fits only roughly, or not at all.
R2_FITS, R2_ROUGH = 0.5, 0.3
#: Four of the five strongest segments must agree between the halves (Jaccard 4/6).
JACCARD_STABLE = 0.6
#: Fewer samples a segment than this leave the weights to chance.
SAMPLES_PER_SEGMENT = 10
#: A score that moves by less than this share of itself does not depend on what was hidden.
FLAT = 0.005
#: What is said then of a picture.
UNMOVED = "hiding segments hardly moves the score (spread {spread:.1g}); try hide_color 0 or 255"
_SPLIT_TOP = 5


def effective_sample_size(proximities: NDArray[np.float64]) -> float:
    """Kish's (Σw)²/Σw²: how many equally weighted samples these are worth, 1 to N."""
    return float(proximities.sum() ** 2 / (proximities**2).sum())


def split_top(num_features: int, segments: int) -> int:
    """How many strongest segments the halves are compared by: at most half of all segments."""
    return max(1, min(_SPLIT_TOP, num_features, segments // 2))


def split_stability(
    surrogate: Surrogate,
    scores: NDArray[np.floating[Any]],
    label: int,
    num_features: int,
    top: int,
) -> float:
    """Jaccard index of the strongest segments found in two disjoint halves of the samples.

    The odd and the even samples are each explained by the same method, with the untouched
    picture as first row of both. Half the samples are less stable than all of them, so the
    figure is on the safe side.

    Returns:
        |A ∩ B| / |A ∪ B|, 0 to 1, for sets of at most `top` segments.
    """
    samples = scores.shape[0]
    halves = []
    for first in (1, 2):
        rows = np.append(0, np.arange(first, samples, 2)).astype(np.intp)
        fit = surrogate.fit(scores, label, num_features, rows)
        halves.append({segment for segment, _ in fit.weights[:top]})
    return len(halves[0] & halves[1]) / len(halves[0] | halves[1])


def verdict(
    *,
    score: float,
    spread: float,
    r2: float,
    stability: float,
    num_samples: int,
    segments: int,
    unmoved: str = UNMOVED,
) -> str:
    """The figures in plain words, worst first; begins with "stable" when nothing is wrong."""
    if spread <= FLAT * max(abs(score), 1e-9):
        return "nothing to explain: " + unmoved.format(spread=spread)
    faults = []
    if r2 < R2_ROUGH:
        faults.append(f"surrogate does not fit: R² {r2:.2f}")
    elif r2 < R2_FITS:
        faults.append(f"rough fit: R² {r2:.2f}, trust the order more than the sizes")
    needed = SAMPLES_PER_SEGMENT * segments
    if num_samples < needed:
        faults.append(f"too few samples: raise num_samples to at least {needed}")
    elif stability < JACCARD_STABLE:
        faults.append("unstable: raise num_samples")
    return "; ".join(faults) or "stable"


def judge(
    surrogate: Surrogate,
    fit: Fit,
    scores: NDArray[np.floating[Any]],
    label: int,
    name: str,
    num_features: int,
    unmoved: str = UNMOVED,
) -> LabelExplanation:
    """Measure one label's surrogate and put its explanation together.

    Args:
        surrogate: as fitted.
        fit: of `label`, on all samples.
        scores: (N, K); row 0 is the untouched picture.
        label: column of `scores`.
        name: what people call it.
        num_features: asked for.
        unmoved: what to say of a score that does not move, with a place for `spread`.
    """
    column = scores[:, label].astype(np.float64)
    samples, segments = scores.shape[0], surrogate.segments
    top = split_top(num_features, segments)
    stability = split_stability(surrogate, scores, label, num_features, top)
    spread = float(column.std())
    return LabelExplanation(
        label=label,
        name=name,
        score=float(column[0]),
        intercept=fit.intercept,
        weights=fit.weights,
        r2=fit.r2,
        local_prediction=fit.local_prediction,
        local_gap=abs(fit.local_prediction - float(column[0])),
        score_spread=spread,
        split_stability=stability,
        split_top=top,
        weight_errors=surrogate.errors(scores, label, [segment for segment, _ in fit.weights]),
        verdict=verdict(
            score=float(column[0]),
            spread=spread,
            r2=fit.r2,
            stability=stability,
            num_samples=samples,
            segments=segments,
            unmoved=unmoved,
        ),
    )
