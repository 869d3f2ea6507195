"""What a caller may ask of an explanation, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter

#: Of an index in text.
_INDEX_DIGITS = 9


class ExplainParameters(BaseModel):
    """Parameters of one explanation; `None` means the model's own default.

    Values arrive as JSON or as text from a query string, so numbers in text are read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["lime", "lime-segments"] | None = Field(
        None,
        description="`lime`; for sequences also `lime-segments`, which hides stretches of time "
        "and is what sequences of any length are explained by.",
    )
    row: int = Field(0, ge=0, description="Which row of the batch to explain.")
    output: str | None = Field(
        None, description="Output of the model to explain; its first if absent."
    )
    target: int | str | None = Field(
        None,
        description="What of the output to explain: a class or value, by index or name; the "
        "highest if absent.",
    )
    num_samples: int | None = Field(None, ge=10, description="Perturbed samples to predict.")
    num_features: int | None = Field(
        None, ge=1, description="Segments, columns or words in the explanation."
    )
    segmentation: Literal["auto", "grid", "slic", "quickshift", "felzenszwalb"] | None = Field(
        None, description="Images: how they are cut into segments."
    )
    hide_color: int | None = Field(
        None,
        ge=0,
        le=255,
        description="Images: grey value of hidden segments; their mean if absent.",
    )
    stop_confidence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Images: end early once the order of the strongest five is settled with this "
        "nominal chance, 0.85 for instance; 0 draws all num_samples.",
    )
    discretizer: Literal["auto", "quartile", "decile", "none"] = Field(
        "auto",
        description="Tables: bins that numbers are explained by; `none` explains by the numbers "
        "themselves, in standard deviations.",
    )
    sample_around_row: bool = Field(
        False, description="Tables without bins: draw around the row, not around the mean."
    )
    keep_tied_values: bool = Field(
        False,
        description="Tables: draw the value of a lowest bin that holds one value alone, where "
        "upstream draws 0.",
    )
    bag: bool = Field(
        True, description="Texts: hide a word everywhere at once; else each place by itself."
    )
    mask_string: str | None = Field(
        None, max_length=64, description="Texts, without `bag`: what stands for a hidden word."
    )
    segment_steps: int | None = Field(
        None, ge=1, description="Sequences: most steps in a segment; a tenth of them if absent."
    )
    channels_together: bool = Field(
        False, description="Sequences: hide a stretch of time in all channels at once."
    )
    background: Literal["mean", "interpolation", "noise", "usual"] | None = Field(
        None,
        description="Sequences: what stands in place of what is hidden; if absent what is usual "
        "of each channel, where the model says it, else the mean over the window.",
    )
    faithfulness: bool = Field(
        False, description="Also hide and reveal the features in their order (deletion, insertion)."
    )
    repeats: int = Field(
        0, ge=0, le=20, description="Explain again with so many other seeds (VSI, CSI)."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the random perturbations.")

    def refuse_others(self, modality: str, own: Collection[str]) -> None:
        """Refuse what means nothing here, so that nobody believes that it was heeded.

        Args:
            modality: what is explained, for the message.
            own: parameters that mean something, besides those that always do.

        Raises:
            InvalidParameter: another one was given.
        """
        for name, field in type(self).model_fields.items():
            given = getattr(self, name)
            if name not in own and name not in ALWAYS and given != field.default:
                raise InvalidParameter(
                    f"explain parameters: {name}: got {given!r}, but this is an explanation of a "
                    f"{modality}. Leave it out; known here: {', '.join(sorted({*own, *ALWAYS}))}."
                )


#: Parameters that mean something in every modality.
ALWAYS = frozenset(
    {"method", "row", "output", "target", "num_samples", "num_features", "faithfulness",
     "repeats", "seed"}
)  # fmt: skip


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


def target_index(target: int | str | None, names: tuple[str, ...]) -> int | None:
    """The column that `target` names: a name first, else an index.

    Args:
        target: None = whichever is highest.
        names: of the columns; none where nobody named them, and then only an index will do.

    Raises:
        InvalidParameter: neither a name nor an index in range.
    """
    if target is None:
        return None
    if isinstance(target, str):
        if target in names:
            return names.index(target)
        if not target.isdecimal() or len(target) > _INDEX_DIGITS:
            raise InvalidParameter(
                f"explain parameters: target: got '{target:.80}', which is none of the "
                f"{len(names)} labels, listed under GET /v2/models/<name>, and no index."
            )
        target = int(target)
    if target < 0 or (names and target >= len(names)):
        wanted = f"0 to {len(names) - 1} or a label" if names else "0 or more"
        raise InvalidParameter(f"explain parameters: target: got {target}, wanted {wanted}.")
    return target
