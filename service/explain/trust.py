"""What it costs more to know: is the explanation true to the model, and would it come again?

Deletion and insertion hide and reveal the segments in the order of their weights and watch
the score: the sooner it falls, and the sooner it rises, the truer the order. VSI and CSI
explain again with other seeds: do the same segments come, with weights that agree?

Source: Petsiuk et al. 2018, arXiv:1806.07421 (deletion, insertion); Visani et al. 2020,
arXiv:2001.11757 (VSI, CSI).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.config import ImageConfig
from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.image import explain_image
from service.explain.perturb import Composer, Predict, background, score

#: Of a normal distribution's middle 95 %.
_Z = 1.959963984540054


def faithfulness(
    image: NDArray[np.uint8], predict: Predict, config: ImageConfig, explanation: ImageExplanation
) -> tuple[float, float]:
    """Deletion and insertion AUC of the first label's order.

    Args:
        image: (C, H, W) uint8, the picture that was explained.
        predict: as for `explain_image`.
        config: as it was explained.
        explanation: of this picture.

    Returns:
        Areas under the score over the share of segments hidden, and revealed, 0 to 1 for
        probabilities. Segments that the explanation leaves out come last, in their order.
    """
    first = explanation.of()
    count = explanation.segment_count
    weights = np.zeros(count)
    for segment, weight in first.weights:
        weights[segment] = weight
    order = np.argsort(-weights, kind="stable")
    steps = np.ones((count + 1, count), np.int64)
    for hidden in range(1, count + 1):
        steps[hidden, order[:hidden]] = 0
    masks = np.concatenate([steps, 1 - steps])
    background_ = background(image, explanation.segments, config.hide_color)
    batch = min(config.batch_size, len(masks))
    composer = Composer(image, background_, explanation.segments, batch)
    scores = score(composer, masks, predict, batch, lambda _: None).values[:, first.label]
    deletion, insertion = scores[: count + 1], scores[count + 1 :]
    return _area(deletion), _area(insertion)


def _area(scores: NDArray[np.floating[Any]]) -> float:
    """Trapezoidal area over equal steps from 0 to 1."""
    values = scores.astype(np.float64)
    return float((values[:-1] + values[1:]).mean() / 2)


def stability(
    image: NDArray[np.uint8],
    predict: Predict,
    config: ImageConfig,
    explanation: ImageExplanation,
    repeats: int,
    deadline: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[float, float]:
    """VSI and CSI of the first label over explanations with the next seeds.

    Args:
        image: (C, H, W) uint8.
        predict: as for `explain_image`.
        config: as it was explained; `seed` + 1 to `seed` + `repeats` are explained again.
        explanation: of this picture, the first of the repeats.
        repeats: explanations besides it, >= 1.
        deadline: as for `explain_image`.
        progress: told (samples done, samples in all) over all repeats.

    Returns:
        VSI: the mean share of segments that two explanations have in common. CSI: the mean
        share of pairs of explanations whose 95 % intervals of a segment's weight overlap, over
        the segments that at least two name. Both 0 to 1.
    """
    first = explanation.of()
    found = [first]
    total = repeats * config.num_samples
    for number in range(1, repeats + 1):
        before = (number - 1) * config.num_samples

        def told(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        again = replace(
            config, seed=(config.seed + number) % 2**32, target=first.label, top_labels=1
        )
        found.append(explain_image(image, predict, again, progress=told, deadline=deadline).of())
    return vsi(found), csi(found)


def vsi(explanations: Sequence[LabelExplanation]) -> float:
    """Variables stability index: mean share of common segments, over all pairs."""
    chosen = [{segment for segment, _ in one.weights} for one in explanations]
    size = max(map(len, chosen))
    shares = [len(a & b) / size for a, b in combinations(chosen, 2)]
    return float(np.mean(shares))


def csi(explanations: Sequence[LabelExplanation]) -> float:
    """Coefficients stability index: mean share of overlapping 95 % intervals, by segment."""
    intervals: dict[int, list[tuple[float, float]]] = {}
    for one in explanations:
        for (segment, weight), error in zip(one.weights, one.weight_errors, strict=True):
            reach = _Z * error
            intervals.setdefault(segment, []).append((weight - reach, weight + reach))
    shares = [
        np.mean([a[0] <= b[1] and b[0] <= a[1] for a, b in combinations(seen, 2)])
        for seen in intervals.values()
        if len(seen) > 1
    ]
    return float(np.mean(shares)) if shares else 0.0
