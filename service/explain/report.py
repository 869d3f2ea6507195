"""An explanation as one HTML file that needs nothing else: for reading, printing, filing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.legend import AGAINST, FOR, number
from service.explain.render import RANKED, draw_overlay, png, thumbnail, to_pil

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ROWS, _COLUMNS = ("upper", "", "lower"), ("left", "centre", "right")
#: Geometry of the bar chart, in its own units.
_CHART, _NAMES, _FIGURES, _LINE = 480, 164, 62, 28
_DIGESTS = {
    "image": "the picture, uint8 (C, H, W)",
    "segments": "the segments, int32 (H, W)",
    "masks": "which segment each sample showed, uint8 (N, S)",
    "background": "what stood in place of hidden segments, uint8 (C, H, W)",
    "scores": "what the model answered, (N, K), in its own float type",
    "rng_state": "the random generator after the draws, 625 uint32",
}


def render_report(
    image: NDArray[np.uint8],
    explanation: ImageExplanation,
    context: Mapping[str, Any],
    label: int | None = None,
) -> str:
    """Write the report of one label.

    Args:
        image: (C, H, W), the picture that was explained.
        explanation: of this picture.
        context: what the explanation cannot know, all optional. `model`: reference, or a
            mapping with `name`, `version` and digests; `record_id` or `explains`: the
            prediction; `explanation_id`; `created`: a time; `verify`: steps in words, added
            to the general ones. Other keys are not read.
        label: index of the output; None = the first explained.

    Returns:
        HTML 5 without a script and without any external resource.

    Raises:
        InvalidParameter: `label` was not explained.
        Conflict: the explanation is of a picture of another size.
    """
    one = explanation.of(label)
    overlay = draw_overlay(image, explanation, one)
    long_side = max(image.shape[1:])
    shown = thumbnail(image, 480) if long_side < 480 else to_pil(image)
    return _TEMPLATES.get_template("report.html.j2").render(
        one=one,
        explanation=explanation,
        quality=explanation.quality,
        input_png=_data_uri(png(shown)),
        overlay_png=_data_uri(png(overlay)),
        picture=f"{image.shape[2]} x {image.shape[1]} pixels, {_channels(image.shape[0])}",
        reasons=reasons(explanation, one),
        chart=_chart(explanation, one),
        parameters=_rows(explanation.parameters),
        digests=[(name, _DIGESTS.get(name, ""), d) for name, d in explanation.digests.items()],
        provenance=_provenance(context),
        verify=[str(step) for step in context.get("verify", ())],
        number=number,
        colours={"for": _css(FOR), "against": _css(AGAINST)},
    )


def reasons(explanation: ImageExplanation, one: LabelExplanation) -> list[str]:
    """The strongest segments in words, at most five, the strongest first."""
    sentences = []
    for segment, weight in one.weights[:RANKED]:
        if weight != 0:
            verb = "raises" if weight > 0 else "lowers"
            where = position(explanation.segments, segment)
            sentences.append(
                f"Segment {segment} in the {where} {verb} “{one.name}” by {number(abs(weight))}."
            )
    return sentences


def position(segments: NDArray[np.int32], segment: int) -> str:
    """Where a segment's centre lies, by thirds: "upper left", "middle right", "centre"."""
    rows, columns = np.nonzero(segments == segment)
    height, width = segments.shape
    row = _ROWS[min(2, int((rows.mean() + 0.5) * 3 / height))]
    column = _COLUMNS[min(2, int((columns.mean() + 0.5) * 3 / width))]
    if not row:
        return "centre" if column == "centre" else f"middle {column}"
    return f"{row} {column}"


def _chart(explanation: ImageExplanation, one: LabelExplanation) -> dict[str, Any]:
    """Bars from a common zero; as far to either side as the strongest weight there needs."""
    weights = [weight for _, weight in one.weights]
    highest, lowest = max([0.0, *weights]), min([0.0, *weights])
    room = _CHART - _NAMES - _FIGURES - 8
    scale = room / (highest - lowest) if highest > lowest else 0.0
    zero = _NAMES - lowest * scale
    bars = []
    for rank, (segment, weight) in enumerate(one.weights):
        start = zero + min(0.0, weight) * scale
        bars.append(
            {
                "name": f"{rank + 1}  {position(explanation.segments, segment)}, #{segment}",
                "y": rank * _LINE,
                "x": round(start, 2),
                "width": round(abs(weight) * scale, 2),
                "for": weight >= 0,
                "figure": f"{'+' if weight >= 0 else '-'}{number(abs(weight))}",
            }
        )
    height = max(1, len(bars)) * _LINE
    return {"bars": bars, "zero": round(zero, 2), "width": _CHART, "height": height,
            "names": _NAMES, "figures": _CHART - _FIGURES}  # fmt: skip


def _rows(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters as text, one level of nesting written out."""
    rows = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            text = ", ".join(_text(inner) for inner in value)
        else:
            text = _text(value)
        rows.append((name.replace("_", " "), text or "none"))
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value).replace("null", "none")


def _provenance(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    model = context.get("model", "not stated")
    rows: list[tuple[str, str]] = []
    if isinstance(model, Mapping):
        rows.append(("Model", f"{model.get('name', '?')}@{model.get('version', '?')}"))
        rest = {key: value for key, value in model.items() if key not in ("name", "version")}
        rows += [(f"Model {name}", text) for name, text in _rows(rest)]
    else:
        rows.append(("Model", str(model)))
    named = (("Prediction record", context.get("record_id", context.get("explains"))),
             ("Explanation record", context.get("explanation_id")),
             ("Explained at", context.get("created")))  # fmt: skip
    return rows + [(name, str(value)) for name, value in named if value is not None]


def _channels(count: int) -> str:
    return {1: "grey", 3: "colour"}.get(count, f"{count} channels, shown as their mean")


def _data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
