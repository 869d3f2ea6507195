"""What a caller may ask of an explanation, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter
from service.manifest import ExplainerDefaults


class ExplainParameters(BaseModel):
    """Parameters of one explanation; `None` means the model's own default.

    Values arrive as JSON or as text from a query string, so numbers in text are read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["lime"] = Field("lime", description="Explanation method.")
    row: int = Field(0, ge=0, description="Which row of the batch to explain.")
    target: int | str | None = Field(
        None, description="Class to explain, by index or label; the predicted class if absent."
    )
    num_samples: int | None = Field(None, ge=10, description="Perturbed samples to predict.")
    num_features: int | None = Field(None, ge=1, description="Segments in the explanation.")
    segmentation: Literal["auto", "grid", "slic", "quickshift", "felzenszwalb"] | None = Field(
        None, description="How an image is cut into segments."
    )
    hide_color: int | None = Field(
        None, ge=0, le=255, description="Grey value of hidden segments; their mean if absent."
    )
    stop_confidence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="End early once the order of the strongest five is settled with this nominal "
        "chance, 0.85 for instance; 0 draws all num_samples.",
    )
    faithfulness: bool = Field(
        False, description="Also hide and reveal the segments in their order (deletion, insertion)."
    )
    repeats: int = Field(
        0, ge=0, le=20, description="Explain again with so many other seeds (VSI, CSI)."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the random perturbations.")

    def resolved(self, defaults: ExplainerDefaults) -> ExplainParameters:
        """The same parameters with the model's defaults filled in."""
        return self.model_copy(
            update={
                "num_samples": self.num_samples or defaults.num_samples,
                "num_features": self.num_features or defaults.num_features,
                "segmentation": self.segmentation or defaults.segmentation,
            }
        )


def parse(values: Mapping[str, Any], max_samples: int) -> ExplainParameters:
    """Read explanation parameters.

    Args:
        values: parameter name -> JSON value or query-string text.
        max_samples: the largest `num_samples` this server accepts.

    Raises:
        InvalidParameter: an unknown parameter, or a value of the wrong type or range.
    """
    try:
        parameters = ExplainParameters.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {e['input']!r}"
            for e in error.errors()
        )
        known = ", ".join(ExplainParameters.model_fields)
        raise InvalidParameter(f"explain parameters: {problems}. Known: {known}.") from None
    if parameters.num_samples is not None and parameters.num_samples > max_samples:
        raise InvalidParameter(
            f"explain parameters: num_samples: got {parameters.num_samples}, at most "
            f"{max_samples} are accepted. Ask for fewer, or raise GLASSLINE_EXPLAIN_MAX_SAMPLES."
        )
    return parameters


def target_index(target: int | str | None, labels: tuple[str, ...]) -> int | None:
    """The class index that `target` names: a label first, else an index.

    Raises:
        InvalidParameter: neither a label nor an index in range.
    """
    if target is None:
        return None
    if isinstance(target, str):
        if target in labels:
            return labels.index(target)
        if not target.isdecimal():
            raise InvalidParameter(
                f"explain parameters: target: no class '{target}'; the model has {len(labels)} "
                "labels, listed under GET /v2/models/<name>."
            )
        target = int(target)
    if not 0 <= target < len(labels):
        raise InvalidParameter(
            f"explain parameters: target: got {target}, wanted 0 to {len(labels) - 1} or a label."
        )
    return target
