"""What our explanations and those of upstream's LIME say, in one form, to be compared by `==`."""

from __future__ import annotations

from typing import Any

from service.explain.feature_explanation import FeatureExplanation


def said_by_us(ours: FeatureExplanation) -> dict[str, Any]:
    """Weights, intercept and sentences of every label; how well the first of them fits."""
    labels = {
        one.label: (list(one.weights), one.intercept, ours.reasons(one.label))
        for one in ours.explanations
    }
    first = ours.explanations[0]
    return {"labels": labels, "r2": first.r2, "local prediction": first.local_prediction}


def said_by(theirs: Any, ours: FeatureExplanation, regression: bool = False) -> dict[str, Any]:
    """The same of upstream, whose numbers are NumPy's."""
    labels = {}
    for one in ours.explanations:
        # Upstream files a regression under 1, and its mirror image under 0.
        at = 1 if regression else one.label
        weights = [(int(f), float(w)) for f, w in theirs.local_exp[at]]
        labels[one.label] = (weights, theirs.intercept[at], theirs.as_list(label=at))
    # Upstream keeps these two of its last label only, which is the one with the lowest rank.
    return {"labels": labels, "r2": theirs.score, "local prediction": theirs.local_pred[0]}
