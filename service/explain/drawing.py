"""A stored explanation as a picture or as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from service.explain.counterfactual import Change, told
from service.explain.evidence import CAPTIONS, NativeEvidence, draw_evidence, payload_of
from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.feature_explanation import Feature, FeatureExplanation
from service.explain.legend import PAPER, Legend, number
from service.explain.picture_story import picture_story
from service.explain.render import draw_overlay, png, render_overlay
from service.explain.report import render_report
from service.explain.story import Figure, Story

_PARTS = {
    "image": ("image", "segments", "weights"),
    "table": ("row",),
    "text": ("text",),
    "sequence": ("window",),
}


def parts(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the stored arrays that drawing needs besides the explanation's JSON."""
    native = (payload_of(one["output"]) for one in content.get("evidence", ()))
    return (*_PARTS[content["modality"]], *native)


def drawn(
    content: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    context: Mapping[str, Any],
    media_type: str,
) -> bytes:
    """Draw the first label of a stored explanation.

    Args:
        content: the explanation's JSON.
        arrays: by the names that `parts` gave.
        context: of the report; see `render_report`.
        media_type: `image/png`, or else `text/html`.

    Raises:
        Conflict: the stored parts do not belong together.
    """
    explanation: ImageExplanation | FeatureExplanation
    subject = arrays[_PARTS[content["modality"]][0]]
    if content["modality"] == "image":
        explanation = ImageExplanation.from_parts(content, arrays)
        if media_type == "image/png":
            return render_overlay(subject, explanation)
        story = picture_story(subject, explanation, explanation.of())
    else:
        explanation = FeatureExplanation.from_json(content)
        if media_type == "image/png":
            return render_features(subject, explanation, explanation.of())
        story = feature_story(subject, explanation, explanation.of())
    figures = (*story.figures, *_native(content, arrays, explanation))
    return render_report(explanation, replace(story, figures=figures), context).encode()


def _native(
    content: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    explanation: ImageExplanation | FeatureExplanation,
) -> Iterator[Figure]:
    """The model's own evidence, drawn."""
    for one in content.get("evidence", ()):
        if one["kind"] == "counterfactual":
            changes = [Change.from_json(said) for said in one["changes"]]
            yield Figure(CAPTIONS[one["kind"]], html=told(changes))
            continue
        values = arrays[payload_of(one["output"])]
        tokens = (tuple(one.get("rows", ())), tuple(one.get("columns", ())))
        evidence = NativeEvidence(one["output"], one["kind"], values, *tokens)
        names: list[str] = []
        if isinstance(explanation, FeatureExplanation) and evidence.kind != "attention":
            names = _axis_names(explanation, values.shape[-1])
        yield Figure(evidence.caption, draw_evidence(evidence, names))


def draw_body(
    subject: NDArray[Any], explanation: ImageExplanation | FeatureExplanation
) -> Image.Image:
    """The first label's evidence without title and legend, for pages that have their own.

    Args:
        subject: (C, H, W), (D,), one string, or (T, C): what was explained.
        explanation: of it.

    Raises:
        Conflict: it is of a picture of another size.
    """
    one = explanation.of()
    if isinstance(explanation, ImageExplanation):
        return draw_overlay(subject, explanation, one)
    return _body(subject, explanation, one)[0]


def _axis_names(explanation: FeatureExplanation, count: int) -> list[str]:
    """Names of a row's columns, or of a window's channels."""
    if explanation.modality == "sequence":
        from service.explain.signals import channel_names

        return channel_names(explanation, count)
    return [feature.name for feature in explanation.features]


def render_features(
    subject: NDArray[Any], explanation: FeatureExplanation, one: LabelExplanation
) -> bytes:
    """Row, text or window with its evidence and a legend, as PNG.

    Args:
        subject: (D,), one string, or (T, C): what was explained.
        explanation: of it.
        one: the label to draw.
    """
    body, plural = _body(subject, explanation, one)
    counted = (
        f"{explanation.samples_used} samples, {explanation.feature_count} {plural}, "
        f"seed {explanation.seed}"
    )
    legend = Legend(body.width, one, counted, scale=explanation.modality != "table")
    canvas = Image.new("RGB", (body.width, body.height + legend.height), PAPER)
    canvas.paste(body, (0, 0))
    legend.draw(canvas, body.height)
    return png(canvas)


def feature_story(
    subject: NDArray[Any], explanation: FeatureExplanation, one: LabelExplanation
) -> Story:
    """The story of a row, text or window."""
    # matplotlib takes half a second and fifty megabytes: only where something is drawn by it.
    from service.explain.feature_story import row_story, text_story, window_story

    if explanation.modality == "table":
        return row_story(subject, explanation, one)
    if explanation.modality == "text":
        return text_story(str(subject[0]), explanation, one)
    return window_story(subject, explanation, one)


def described(feature: Feature) -> str:
    """The column's condition, and the value where its two decimals hide it."""
    if isinstance(feature.value, float):
        return f"{feature.description}   ({number(feature.value)})"
    return feature.description


def _body(
    subject: NDArray[Any], explanation: FeatureExplanation, one: LabelExplanation
) -> tuple[Image.Image, str]:
    """The drawing, and what its weights belong to."""
    from service.explain.bars import draw_bars
    from service.explain.highlight import draw_text
    from service.explain.signals import draw_signals

    if explanation.modality == "table":
        return draw_bars(
            one, [described(explanation.features[at]) for at, _ in one.weights]
        ), "columns"
    if explanation.modality == "text":
        return draw_text(str(subject[0]), explanation, one), "words"
    segments = explanation.parameters["method"] == "lime-segments"
    return draw_signals(subject, explanation, one), "stretches" if segments else "steps"
