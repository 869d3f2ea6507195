"""Pictures of rows, texts, windows and the model's own evidence: a person has to look too."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import ExplanationError
from service.explain.background import TableBackground
from service.explain.drawing import drawn, render_features
from service.explain.evidence import NativeEvidence, draw_evidence, native_evidence
from service.explain.feature_explanation import FeatureExplanation
from service.explain.figure import AGAINST_CSS, FOR_CSS
from service.explain.highlight import highlighted, pieces
from service.explain.legend import AGAINST, FOR
from service.explain.sequence import SegmentsConfig, explain_segments
from service.explain.signals import CHANNELS, channel_names, strongest_channels
from service.explain.table import TableConfig, explain_table
from service.explain.text import TextConfig, explain_text

TEXT = "good and <b>bad</b>, good\nbut dull"


def two(score: NDArray[Any]) -> NDArray[np.float64]:
    return np.column_stack([1 - score, score])


def text_explained(text: str = TEXT, name: str = "liked") -> FeatureExplanation:
    def predict(texts: list[str]) -> NDArray[np.float64]:
        return two(np.array([0.5 + 0.2 * ("good" in t) - 0.2 * ("dull" in t) for t in texts]))

    return explain_text(text, predict, TextConfig(num_samples=200, target=1, labels=("", name)))


def row_explained() -> tuple[NDArray[np.float64], FeatureExplanation]:
    data = np.random.default_rng(0).normal(size=(200, 3)) * [1, 0.001, 9]
    background = TableBackground.fit(data, names=("price in $", "x" * 90, "wide"))
    config = TableConfig(num_samples=300, target=1, labels=("no", "yes"))
    return data[0], explain_table(data[0], lambda x: two(np.tanh(x[:, 2])), background, config)


def window_explained(channels: int = 2) -> tuple[NDArray[np.float64], FeatureExplanation]:
    window = np.random.default_rng(1).normal(size=(40, channels))
    config = SegmentsConfig(num_samples=300, target=1, channels=("flow rate", "steam 2"))
    return window, explain_segments(window, lambda x: two(x[:, 30:, 1].mean(axis=1)), config)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(one) for one in np.asarray(picture).reshape(-1, 3).tolist()}


def test_bars_have_the_colours_of_their_signs() -> None:
    row, explanation = row_explained()
    picture = opened(render_features(row, explanation, explanation.of()))
    assert picture.width == 960
    signs = {weight > 0 for _, weight in explanation.of().weights}
    assert (FOR in colours(picture), AGAINST in colours(picture)) == (True in signs, False in signs)
    flat = replace(explanation.of(), weights=(), weight_errors=())
    assert opened(render_features(row, explanation, flat)).width == 960


def test_names_of_colours_are_the_legends() -> None:
    assert (FOR_CSS, AGAINST_CSS) == ("#0072b2", "#e69f00")


def test_words_for_and_against_are_marked_wherever_they_stand() -> None:
    explanation = text_explained()
    html = highlighted(TEXT, explanation, explanation.of())
    assert html.count('rgba(0,114,178,0.660)">good</mark>') == 2
    assert ">dull</mark>" in html
    assert "<b>" not in html


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=80).filter(lambda text: any(c.isalnum() for c in text)))
def test_pieces_are_the_text_and_every_text_is_drawn(text: str) -> None:
    text = "dull " + text
    explanation = text_explained(text)
    assert "".join(part for part, _ in pieces(text, explanation, explanation.of())) == text
    assert opened(render_features(np.array([text]), explanation, explanation.of())).width == 960


def test_a_text_without_end_is_cut_and_says_so() -> None:
    text = "dull " * 4000
    explanation = text_explained(text)
    assert highlighted(text, explanation, explanation.of()).endswith(" …")
    assert opened(render_features(np.array([text]), explanation, explanation.of())).height < 4000


def test_a_window_shows_its_strongest_channels_by_name() -> None:
    window, explanation = window_explained(2)
    assert channel_names(explanation, 2) == ["flow rate", "steam 2"]
    assert opened(render_features(window, explanation, explanation.of())).width == 960
    window, explanation = window_explained(12)
    shown = strongest_channels(explanation, explanation.of(), 12)
    assert len(shown) == CHANNELS
    assert 1 in shown
    assert channel_names(explanation, 12)[5] == "channel 5"


@pytest.mark.parametrize("modality", ["table", "text", "sequence"])
def test_a_hostile_name_stays_text_in_every_page(modality: str) -> None:
    made = {
        "table": row_explained(),
        "text": (np.array([TEXT]), text_explained()),
        "sequence": window_explained(),
    }
    subject, explanation = made[modality]
    bad = "<script>alert(1)</script>"
    features = tuple(replace(one, name=bad, description=bad) for one in explanation.features)
    said = replace(
        explanation, features=features, explanations=(replace(explanation.of(), name=bad),)
    )
    key = {"table": "row", "text": "text", "sequence": "window"}[modality]
    page = drawn(said.to_json(), {key: subject}, {}, "text/html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("reconstruction-error", (3, 20, 30)), ("reconstruction-error", (20, 30)),
     ("reconstruction-error", (60, 2)), ("reconstruction-error", (5,)),
     ("attention", (7, 12)), ("attention", (1, 40))],
)  # fmt: skip
def test_evidence_of_every_shape_is_drawn(kind: Any, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    picture = draw_evidence(NativeEvidence("error", kind, values), ("a", "b"))
    assert picture.width == 960
    assert 200 < picture.height <= 960


def test_evidence_that_is_none_is_refused() -> None:
    outputs = {"error": np.zeros((1, 2, 3, 4, 5), np.float32), "label": np.array(["good"])}
    with pytest.raises(ExplanationError, match="declares it as attention"):
        native_evidence({"error": "attention"}, outputs)
    with pytest.raises(ExplanationError, match="reconstruction-error"):
        native_evidence({"label": "reconstruction-error"}, outputs)
