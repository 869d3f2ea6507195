"""Overlay and report: sizes, colours, words; a person still has to look at them."""

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import Conflict, InvalidParameter
from service.explain.explanation import ImageExplanation
from service.explain.image import ImageConfig, explain_image
from service.explain.legend import AGAINST, FOR, number
from service.explain.picture_story import picture_story, position, reasons
from service.explain.render import draw_overlay, render_overlay
from service.explain.report import render_report


def grey(side: int, channels: int = 1) -> NDArray[np.uint8]:
    image = np.full((channels, side, side), 128, np.uint8)
    image[:, 0, 0] = 129
    return image


def left_minus_right(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    side = images.shape[-1]
    cell = side // 5
    left = images[..., :cell, :cell].mean(axis=(1, 2, 3))
    right = images[..., :cell, -cell:].mean(axis=(1, 2, 3))
    return np.stack([left / 255 - right / 510, right / 255], axis=1)


def explained(side: int = 30, channels: int = 1, name: str = "left") -> ImageExplanation:
    config = ImageConfig(
        segmentation="grid", hide_color=0, num_samples=400, num_features=8, target=0, labels=(name,)
    )
    return explain_image(grey(side, channels), left_minus_right, config)


def report(explanation: ImageExplanation, context: Mapping[str, Any]) -> str:
    story = picture_story(grey(30), explanation, explanation.of())
    return render_report(explanation, story, context)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("side", "max_side", "width"),
    [(8, 960, 480), (28, 960, 504), (32, 960, 480), (224, 960, 672), (1200, 960, 960),
     (1200, 300, 480)],
)  # fmt: skip
def test_small_pictures_are_enlarged_and_large_ones_kept_within_bounds(
    side: int, max_side: int, width: int
) -> None:
    png = opened(render_overlay(grey(side), explained(side), max_side=max_side))
    assert png.format == "PNG"
    assert png.width == width
    assert png.height > min(max(480, width), max_side)  # the legend comes below


@pytest.mark.parametrize(("cell", "colour"), [(0, FOR), (4, AGAINST)])
def test_for_is_blue_and_against_is_orange(cell: int, colour: tuple[int, int, int]) -> None:
    explanation = explained()
    picture = np.asarray(draw_overlay(grey(30), explanation, explanation.of()), float)
    inside = picture[20:30, cell * 96 + 20 : cell * 96 + 30].reshape(-1, 3).mean(axis=0)
    untouched = picture[-30:-20, 20:30].reshape(-1, 3).mean(axis=0)
    towards = np.array(colour) - untouched
    moved = inside - untouched
    cosine = moved @ towards / np.linalg.norm(moved) / np.linalg.norm(towards)
    assert cosine > 0.999
    assert np.ptp(untouched) == 0  # grey: no colour of the picture is taken for evidence


def test_the_stronger_segment_is_the_deeper_coloured_one() -> None:
    explanation = explained()
    weights = dict(explanation.of().weights)
    assert abs(weights[0]) > 1.5 * abs(weights[4])
    picture = np.asarray(draw_overlay(grey(30), explanation, explanation.of()), float)
    strong, weak = picture[25, 25], picture[25, 4 * 96 + 25]
    assert np.ptp(strong) > np.ptp(weak) > 0


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_channel_count_is_drawn(channels: int) -> None:
    assert opened(render_overlay(grey(30, channels), explained(30, channels))).width == 480


@pytest.mark.parametrize(
    "name", ["", "a" * 300, "Öffnung zu groß", "裂纹", "very long name " * 20, "<b>&"]
)
def test_names_of_every_kind_are_drawn_and_wrapped(name: str) -> None:
    explanation = explained(name=name)
    assert opened(render_overlay(grey(30), explanation)).width == 480
    assert "<b>" not in report(explanation, {})


def test_an_explanation_of_another_picture_or_label_is_refused() -> None:
    explanation = explained()
    with pytest.raises(Conflict, match="Draw the picture that was explained"):
        render_overlay(grey(31), explanation)
    with pytest.raises(InvalidParameter, match="label: got 7"):
        render_overlay(grey(30), explanation, label=7)
    with pytest.raises(InvalidParameter, match="max_side: got 10"):
        render_overlay(grey(30), explanation, max_side=10)


def test_without_any_weight_there_is_still_a_picture_and_a_sentence() -> None:
    explanation = explained()
    nothing = replace(explanation.of(), weights=tuple((s, 0.0) for s in range(3)))
    flat = replace(explanation, explanations=(nothing,))
    assert opened(render_overlay(grey(30), flat)).width == 480
    assert "No segment changes this score." in report(flat, {})


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [(0, 0, "upper left"), (0, 4, "upper centre"), (4, 8, "middle right"), (4, 4, "centre"),
     (8, 0, "lower left"), (8, 8, "lower right")],
)  # fmt: skip
def test_positions_in_words(row: int, column: int, words: str) -> None:
    segments = np.zeros((9, 9), np.int32)
    segments[row, column] = 1
    assert position(segments, 1) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.00"), (0.3941, "0.394"), (-0.0614, "-0.0614"), (1234.5, "1234"),
     (2.1e-6, "2.1e-06"), (0.99996, "1.00")],
)  # fmt: skip
def test_numbers_as_a_person_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_the_report_says_what_raises_and_what_lowers() -> None:
    explanation = explained()
    first, second = reasons(explanation, explanation.of())[:2]
    assert re.fullmatch(r"Segment 0 in the upper left raises “left” by 0\.\d+\.", first)
    assert re.fullmatch(r"Segment 4 in the upper right lowers “left” by 0\.\d+\.", second)
    html = report(explanation, {})
    assert first in html
    assert second in html


def test_the_report_holds_every_parameter_and_digest_and_needs_nothing_else() -> None:
    explanation = explained()
    context = {
        "model": {"name": "toy", "version": "3", "manifest_sha256": "f" * 64},
        "explains": "record-1",
        "explanation_id": "record-2",
        "verify": ["Ask <the auditor>."],
    }
    html = report(explanation, context)
    for name in explanation.parameters:
        assert f"<th>{name.replace('_', ' ')}</th>" in html
    for digest in explanation.digests.values():
        assert digest in html
    for text in ("toy@3", "f" * 64, "record-1", "record-2", explanation.quality.verdict):
        assert text in html
    assert "Ask &lt;the auditor&gt;." in html
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert "<script" not in html
    assert "http:" not in html
    assert "https:" not in html


def test_a_hostile_class_name_stays_text() -> None:
    html = report(explained(name="<script>alert(1)</script>"), {})
    assert "<script" not in html
    assert "&lt;script&gt;" in html
