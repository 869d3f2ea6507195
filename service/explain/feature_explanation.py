"""What an explanation by features says: columns of a table, words, parts of a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from service.errors import Conflict
from service.explain.explanation import SCHEMA, Explained, from_said

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureExplanation(Explained):
    """Why a model scored an input as it did; see `Explained`.

    The first number of each weight is an index into `features`. `warnings` are in plain words.
    """

    modality: str
    features: tuple[Feature, ...]
    warnings: tuple[str, ...]

    @property
    def feature_count(self) -> int:
        """What a weight can belong to."""
        return len(self.features)

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
            **self.said(),
            "warnings": list(self.warnings),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`weights` (labels, D) float64, 0 where not chosen."""
        return {"weights": self.weight_matrix(len(self.features))}

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
            warnings=tuple(json["warnings"]),
            **from_said(json),
        )
