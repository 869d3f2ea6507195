"""What was decided of each row, in the words that records and people find it by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from service.audit.canonical import Part, canonical_part
from service.manifest import Manifest
from service.policy import ACTION_NUMBER, PREFERENCE
from service.tasks import deadline
from service.tasks.deadline import Late

#: Records are found by so many characters of a decision.
LONGEST = 256


@dataclass(frozen=True, slots=True)
class Decided:
    """A record's `decision`, and what the record is found by: one row's decision and score."""

    decision: Part
    found_by: str | None
    score: float | None


def decided(
    manifest: Manifest, outputs: Mapping[str, NDArray[Any]], late: Late | None = None
) -> Decided:
    """What a model decided, or the fail-safe where that was answered in its place.

    A record is found by its first row; that of a detector by the row with the highest score, so
    that a batch with an anomaly in it is found as one.
    """
    if late is not None and late.fail_safe is not None:
        labels = deadline.decided(manifest, outputs)
        said: dict[str, Any] = {"labels": labels, "confidence": [], "threshold": None}
        score = None if labels else _first_value(manifest, outputs)
        return Decided(canonical_part(said), labels[0][:LONGEST] if labels else None, score)
    if manifest.task == "anomaly":
        return _judged(outputs)
    labels = _labels(manifest, outputs)
    confidence = [float(value) for value in outputs.get("confidence", ())]
    said = {"labels": labels, "confidence": confidence, "threshold": None}
    return Decided(
        canonical_part(said),
        labels[0][:LONGEST] if labels else None,
        confidence[0] if confidence else _first_value(manifest, outputs),
    )


def _judged(outputs: Mapping[str, NDArray[Any]]) -> Decided:
    verdicts = [str(one) for one in outputs["verdict"]]
    scores = outputs["score"].reshape(-1)
    highest = int(scores.argmax())
    said = {
        "labels": verdicts,
        "confidence": [],
        "threshold": float(outputs["threshold"][0]),
        "budget": float(outputs["budget"][0]),
        "p_values": outputs["p_value"].tolist(),
    }
    return Decided(canonical_part(said), verdicts[highest], _finite(float(scores[highest])))


def _labels(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """What was decided of each row: its label, its action, or its text's best translation."""
    if manifest.task == "act":
        return [str(action) for action in outputs["action"]]
    if manifest.task == "translate":
        return [str(text) for text in outputs["text"][:, 0]]
    return [str(label) for label in outputs.get("label", ())]


def _first_value(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> float | None:
    """What records are found by: a value, a score, how much an action is preferred; else None."""
    if manifest.task == "act":
        return _finite(float(outputs[PREFERENCE][0, outputs[ACTION_NUMBER][0]]))
    if manifest.task in ("classify", "embed", "generate"):  # a pixel is found by nobody
        return None
    name = "score" if manifest.task == "translate" else manifest.outputs[0].name
    return _finite(float(outputs[name].flat[0]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
