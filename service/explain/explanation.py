"""What an explanation says, and how it is stored so that it can be drawn again later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import Conflict, InvalidParameter

SCHEMA = "glassline.explanation/1"


def sha256(array: NDArray[Any]) -> str:
    """Digest of an array's elements in row-major order, each little-endian; lower-case hex."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class LabelExplanation:
    """The surrogate of one model output.

    `weights` are (segment, weight) by falling absolute weight: showing the segment moves
    the score by `weight`. `score` is the model's for the untouched picture,
    `local_prediction` the surrogate's, `local_gap` their distance. `r2` is weighted by
    proximity. `score_spread` is the standard deviation of the score over the samples, in
    the score's unit. `split_stability` is the Jaccard index of the `split_top` strongest
    segments found in two disjoint halves of the samples, 0-1.
    """

    label: int
    name: str
    score: float
    intercept: float
    weights: tuple[tuple[int, float], ...]
    r2: float
    local_prediction: float
    local_gap: float
    score_spread: float
    split_stability: float
    split_top: int
    verdict: str
    #: standard errors of `weights`, in their order; empty in explanations of older releases
    weight_errors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the explanation can be trusted.

    `effective_sample_size` is (Σw)²/Σw² over the proximities w, and `effective_share` that
    as a share of the samples. `split_stability`, `r2` and `verdict` are those of the label
    that fares worst.
    """

    effective_sample_size: float
    effective_share: float
    samples_per_segment: float
    r2: float
    split_stability: float
    verdict: str
    #: on request only; see `trust.py`
    deletion_auc: float | None = None
    insertion_auc: float | None = None
    repeats: int | None = None
    vsi: float | None = None
    csi: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What every explanation says, whatever was perturbed.

    `explanations` holds one entry a label, the highest score first. `parameters` is everything
    it takes to compute the same bits again, and `digests` what to compare them by.
    `corrections` names upstream defects that this answer is free of. `timings` are seconds.
    """

    explanations: tuple[LabelExplanation, ...]
    quality: Quality
    parameters: Mapping[str, Any]
    corrections: tuple[str, ...]
    digests: Mapping[str, str]
    seed: int
    samples_used: int
    stop_reason: str
    timings: Mapping[str, float]

    def of(self, label: int | None = None) -> LabelExplanation:
        """The explanation of one label; None = the first.

        Raises:
            InvalidParameter: this label was not explained.
        """
        for candidate in self.explanations:
            if label is None or candidate.label == label:
                return candidate
        raise InvalidParameter(
            f"label: got {label}, but the labels explained are "
            f"{[one.label for one in self.explanations]}. Explain again with target={label}."
        )

    def said(self) -> dict[str, Any]:
        """JSON-safe form of what stands here: `from_said` makes the same of it."""
        return {
            "explanations": [
                {
                    **asdict(one),
                    "weights": [list(pair) for pair in one.weights],
                    "weight_errors": list(one.weight_errors),
                }
                for one in self.explanations
            ],
            "quality": asdict(self.quality),
            "parameters": dict(self.parameters),
            "corrections": list(self.corrections),
            "digests": dict(self.digests),
            "seed": self.seed,
            "samples_used": self.samples_used,
            "stop_reason": self.stop_reason,
            "timings": dict(self.timings),
        }

    def weight_matrix(self, features: int) -> NDArray[np.float64]:
        """(labels, features), 0 where a feature was not chosen."""
        weights = np.zeros((len(self.explanations), features))
        for row, one in enumerate(self.explanations):
            for feature, weight in one.weights:
                weights[row, feature] = weight
        return weights


def from_said(json: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Explained`, from what `Explained.said` gave."""
    labels = tuple(
        LabelExplanation(
            **{
                **one,
                "weights": tuple((feature, weight) for feature, weight in one["weights"]),
                "weight_errors": tuple(one.get("weight_errors", ())),
            }
        )
        for one in json["explanations"]
    )
    taken = ("parameters", "digests", "seed", "samples_used", "stop_reason", "timings")
    return {
        "explanations": labels,
        "quality": Quality(**json["quality"]),
        "corrections": tuple(json["corrections"]),
        **{name: json[name] for name in taken},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExplanation(Explained):
    """Why a model scored a picture as it did; see `Explained`.

    `segments` is (H, W) int32, 0..S-1. `service/explain/image.py` says what each of the
    `corrections` means.
    """

    segments: NDArray[np.int32]

    @property
    def segment_count(self) -> int:
        """Number of segments S."""
        return int(self.segments.max()) + 1

    @property
    def feature_count(self) -> int:
        """What a weight can belong to: the segments."""
        return self.segment_count

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form. The segments stand by shape and digest: `arrays()` has them."""
        return {
            "schema": SCHEMA,
            "method": "lime",
            "modality": "image",
            "segments": {
                "count": self.segment_count,
                "shape": list(self.segments.shape),
                "datatype": "INT32",
                "sha256": self.digests["segments"],
            },
            **self.said(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`segments` (H, W) int32 and `weights` (labels, S) float64, 0 where not chosen."""
        return {"segments": self.segments, "weights": self.weight_matrix(self.segment_count)}

    @classmethod
    def from_parts(
        cls, json: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> ImageExplanation:
        """Put a stored explanation together again, without a model.

        Args:
            json: what `to_json` gave.
            arrays: what `arrays` gave; `segments` must match its digest in `json`.

        Raises:
            Conflict: the stored parts are of another schema or do not belong together.
        """
        if json.get("schema") != SCHEMA:
            raise Conflict(
                f"stored explanation: schema {json.get('schema')!r}, wanted {SCHEMA!r}. "
                f"Read it with the release that wrote it, or explain again."
            )
        if "segments" not in arrays:
            raise Conflict("stored explanation: its segments are missing. Explain again.")
        segments = np.asarray(arrays["segments"], np.int32)
        stored = json["segments"]
        if list(segments.shape) != stored["shape"] or sha256(segments) != stored["sha256"]:
            raise Conflict(
                f"stored explanation: segments {segments.shape} with sha256 {sha256(segments)}, "
                f"but its record says {tuple(stored['shape'])} and {stored['sha256']}. "
                f"The stored array was changed or belongs to another explanation."
            )
        return cls(segments=segments, **from_said(json))
