"""What an explanation by features says: columns of a table, words, parts of a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import Conflict, InvalidParameter
from service.explain.explanation import SCHEMA, LabelExplanation, Quality

MODALITIES = ("table", "text", "sequence")


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that a weight can belong to.

    `description` is upstream's own wording of it, "2.00 < width <= 3.50" for instance.
    `spans` are [start, stop) in characters of the text or steps of the window; a word that
    comes more than once has several. `channel` is the window's; `value` is the input's own.
    """

    name: str
    description: str
    value: float | str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class FeatureExplanation:
    """Why a model scored an input as it did.

    `explanations` holds one entry a label, the highest score first; the first number of each
    of its weights is an index into `features`. `parameters` is everything it takes to compute
    the same bits again, and `digests` what to compare them by. `warnings` are in plain words.
    `timings` are seconds.
    """

    modality: str
    features: tuple[Feature, ...]
    explanations: tuple[LabelExplanation, ...]
    quality: Quality
    parameters: Mapping[str, Any]
    corrections: tuple[str, ...]
    warnings: tuple[str, ...]
    digests: Mapping[str, str]
    seed: int
    samples_used: int
    stop_reason: str
    timings: Mapping[str, float]

    @property
    def feature_count(self) -> int:
        """What a weight can belong to."""
        return len(self.features)

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

    def reasons(self, label: int | None = None) -> list[tuple[str, float]]:
        """(description, weight) by falling absolute weight: upstream's `as_list`."""
        return [(self.features[at].description, weight) for at, weight in self.of(label).weights]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form, whole: `from_json` makes the same explanation of it."""
        return {
            "schema": SCHEMA,
            "method": self.parameters["method"],
            "modality": self.modality,
            "features": [
                {**asdict(one), "spans": [list(span) for span in one.spans]}
                for one in self.features
            ],
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
            "warnings": list(self.warnings),
            "digests": dict(self.digests),
            "seed": self.seed,
            "samples_used": self.samples_used,
            "stop_reason": self.stop_reason,
            "timings": dict(self.timings),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`weights` (labels, D) float64, 0 where not chosen."""
        weights = np.zeros((len(self.explanations), len(self.features)))
        for row, one in enumerate(self.explanations):
            for feature, weight in one.weights:
                weights[row, feature] = weight
        return {"weights": weights}

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> FeatureExplanation:
        """Put a stored explanation together again, without a model.

        Raises:
            Conflict: it is of another schema or modality.
        """
        if json.get("schema") != SCHEMA or json.get("modality") not in MODALITIES:
            raise Conflict(
                f"stored explanation: schema {json.get('schema')!r} of modality "
                f"{json.get('modality')!r}, wanted {SCHEMA!r} of one of {', '.join(MODALITIES)}. "
                f"Read it with the release that wrote it, or explain again."
            )
        return cls(
            modality=json["modality"],
            features=tuple(
                Feature(**{**one, "spans": tuple((start, stop) for start, stop in one["spans"])})
                for one in json["features"]
            ),
            explanations=tuple(
                LabelExplanation(
                    **{
                        **one,
                        "weights": tuple((feature, weight) for feature, weight in one["weights"]),
                        "weight_errors": tuple(one["weight_errors"]),
                    }
                )
                for one in json["explanations"]
            ),
            quality=Quality(**json["quality"]),
            parameters=json["parameters"],
            corrections=tuple(json["corrections"]),
            warnings=tuple(json["warnings"]),
            digests=json["digests"],
            seed=json["seed"],
            samples_used=json["samples_used"],
            stop_reason=json["stop_reason"],
            timings=json["timings"],
        )
