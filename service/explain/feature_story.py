"""The reports of rows, texts and windows."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape
from numpy.typing import NDArray

from service.explain.explanation import LabelExplanation
from service.explain.feature_explanation import Feature, FeatureExplanation
from service.explain.highlight import highlighted
from service.explain.legend import number
from service.explain.picture_story import EVIDENCE
from service.explain.signals import CHANNELS, draw_signals
from service.explain.story import REASONS, Figure, Story, higher, reason

_SAMPLED = {
    "samples": "what the surrogate saw of each sample, (N, D)",
    "scores": "what the model answered, (N, K), in its own float type",
    "rng_state": "the random generator after the draws, 625 uint32",
}
_KEY = Markup('<span class="key for"></span>for<span class="key against"></span>against')


def row_story(row: NDArray[Any], explanation: FeatureExplanation, one: LabelExplanation) -> Story:
    """Tell of a row of a table, (D,)."""
    bins = explanation.parameters["discretizer"] != "none"
    return Story(
        noun="column",
        plural="columns",
        input="rows",
        figures=(Figure(Markup("Input: one row of {} columns.").format(len(row)),
                        html=_values(explanation, one)),),
        names=_names(explanation, one),
        reasons=_reasons(explanation, one, "“{}”"),
        weighs=_weighs(
            one,
            "lying in this row's bin of the first column goes with a score {} than lying outside"
            if bins
            else "one standard deviation more in the first column goes with a score {}",
        ),
        upstream=Markup(
            "With the model's background statistics as <code>training_data_stats</code>, the "
            "<code>lime</code> package itself gives the same weights: "
            "<code>LimeTabularExplainer(random_state={})</code>."
        ).format(explanation.seed),
        digests={
            "row": "the row, float64 (D,)",
            "background": "the background statistics, canonical JSON",
            **_SAMPLED,
        },
    )  # fmt: skip


def text_story(text: str, explanation: FeatureExplanation, one: LabelExplanation) -> Story:
    """Tell of a text."""
    return Story(
        noun="word",
        plural="words",
        input="texts",
        figures=(
            Figure(
                Markup("The text, {} characters, with the evidence:{}. The deeper the colour, the "
                       "stronger.").format(len(text), _KEY),
                html=Markup('<p class="text">{}</p>').format(highlighted(text, explanation, one)),
            ),
        ),
        names=_names(explanation, one),
        reasons=_reasons(explanation, one, "The word “{}”"),
        weighs=_weighs(one, "holding the first word goes with a score {} than lacking it"),
        upstream=Markup(
            "The <code>lime</code> package itself gives the same weights: "
            "<code>LimeTextExplainer(random_state={}, bow={})</code>."
        ).format(explanation.seed, explanation.parameters["bag"]),
        digests={"text": "the text, UTF-8", **_SAMPLED},
    )  # fmt: skip


def window_story(
    window: NDArray[Any], explanation: FeatureExplanation, one: LabelExplanation
) -> Story:
    """Tell of a window of a sequence, (T, C)."""
    segments = explanation.parameters["method"] == "lime-segments"
    steps, channels = window.shape
    first = f"The {CHANNELS} channels with the strongest evidence of {channels}. "
    caption = Markup("Input: {} steps of {} channels. {}{}").format(
        steps, channels, first if channels > CHANNELS else "", EVIDENCE
    )
    upstream = Markup(
        "With the model's background statistics as <code>training_data_stats</code>, the "
        "<code>lime</code> package itself gives the same weights: "
        "<code>RecurrentTabularExplainer(random_state={})</code>."
    ).format(explanation.seed)
    return Story(
        noun="stretch" if segments else "step",
        plural="stretches" if segments else "steps",
        input="windows",
        figures=(Figure(caption, draw_signals(window, explanation, one)),),
        names=_names(explanation, one),
        reasons=_reasons(explanation, one, "“{}”"),
        weighs=_weighs(
            one,
            "showing the first stretch goes with a score {} than hiding it"
            if segments
            else "lying in this window's bin at the first step goes with a score {}",
        ),
        upstream=Markup("") if segments else upstream,
        digests={
            "window": "the window, in its own float type (T, C)",
            "row": "the window's steps, channel after channel, float64",
            "background": "the background statistics, canonical JSON",
            **_SAMPLED,
        },
    )


def _names(explanation: FeatureExplanation, one: LabelExplanation) -> tuple[str, ...]:
    return tuple(explanation.features[at].description for at, _ in one.weights)


def _reasons(explanation: FeatureExplanation, one: LabelExplanation, form: str) -> tuple[str, ...]:
    return tuple(
        reason(form.format(explanation.features[at].description), one, weight)
        for at, weight in one.weights[:REASONS]
        if weight != 0
    )


def _weighs(one: LabelExplanation, form: str) -> str:
    return form.format(higher(one.weights[0][1])) if one.weights else ""


def _values(explanation: FeatureExplanation, one: LabelExplanation) -> Markup:
    """The row's values, those with evidence first and marked."""
    weights = dict(one.weights)
    order = sorted(range(len(explanation.features)), key=lambda at: -abs(weights.get(at, 0.0)))
    rows = Markup("").join(_value(explanation.features[at], weights.get(at, 0.0)) for at in order)
    return Markup('<table class="values">{}</table>').format(rows)


def _value(feature: Feature, weight: float) -> Markup:
    value = feature.value
    text = number(value) if isinstance(value, float) else str(value)
    kind = "for" if weight > 0 else "against" if weight < 0 else ""
    mark = Markup('<span class="key {}"></span>').format(kind) if kind else ""
    return Markup("<tr><th>{}</th><td>{}{}</td></tr>").format(feature.name, escape(text), mark)
