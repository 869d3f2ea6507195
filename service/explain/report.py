"""An explanation as one HTML file that needs nothing else: for reading, printing, filing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.feature_explanation import FeatureExplanation
from service.explain.legend import AGAINST, FOR, number
from service.explain.render import png
from service.explain.story import Story
from service.pages import data_uri, templates

_TEMPLATES = templates(Path(__file__).parent)
#: Geometry of the bar chart, in its own units; characters of a name that fit.
_CHART, _NAMES, _FIGURES, _LINE, _LONGEST = 640, 264, 62, 28, 36


def render_report(
    explanation: ImageExplanation | FeatureExplanation,
    story: Story,
    context: Mapping[str, Any],
    label: int | None = None,
) -> str:
    """Write the report of one label.

    Args:
        explanation: what is reported.
        story: of the same label, in the words of its modality.
        context: what the explanation cannot know, all optional. `model`: reference, or a
            mapping with `name`, `version` and digests; `record_id` or `explains`: the
            prediction; `explanation_id`; `created`: a time; `verify`: steps in words, added
            to the general ones. Other keys are not read.
        label: index of the output; None = the first explained.

    Returns:
        HTML 5 without a script and without any external resource.

    Raises:
        InvalidParameter: `label` was not explained.
    """
    one = explanation.of(label)
    figures = [
        {
            "uri": data_uri(png(figure.picture)) if figure.picture else "",
            "html": figure.html,
            "caption": figure.caption,
            "pixelated": figure.pixelated,
        }
        for figure in story.figures
    ]
    return _TEMPLATES.get_template("report.html.j2").render(
        one=one,
        explanation=explanation,
        story=story,
        quality=explanation.quality,
        figures=figures,
        chart=_chart(story, one),
        parameters=_rows(explanation.parameters),
        digests=[
            (name, story.digests.get(name, ""), digest)
            for name, digest in explanation.digests.items()
        ],
        warnings=getattr(explanation, "warnings", ()),
        provenance=_provenance(context),
        verify=[str(step) for step in context.get("verify", ())],
        number=number,
        colours={"for": _css(FOR), "against": _css(AGAINST)},
    )


def _chart(story: Story, one: LabelExplanation) -> dict[str, Any]:
    """Bars from a common zero; as far to either side as the strongest weight there needs."""
    weights = [weight for _, weight in one.weights]
    highest, lowest = max([0.0, *weights]), min([0.0, *weights])
    room = _CHART - _NAMES - _FIGURES - 8
    scale = room / (highest - lowest) if highest > lowest else 0.0
    zero = _NAMES - lowest * scale
    bars = []
    for rank, (name, weight) in enumerate(zip(story.names, weights, strict=True)):
        start = zero + min(0.0, weight) * scale
        short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        bars.append(
            {
                "name": f"{rank + 1}  {short}",
                "y": rank * _LINE,
                "x": round(start, 2),
                "width": round(abs(weight) * scale, 2),
                "for": weight >= 0,
                "figure": f"{'+' if weight >= 0 else '-'}{number(abs(weight))}",
            }
        )
    height = max(1, len(bars)) * _LINE
    return {"bars": bars, "zero": round(zero, 2), "width": _CHART, "height": height}


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


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
