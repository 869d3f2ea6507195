"""A heat map shows where, no stronger than the verdict is, in a PNG that others can read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.explain.fast_png import fast_png
from service.explain.heat_map import Judged, draw_error_signals, draw_heat_map


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_png_is_lossless(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(fast_png(pixels))) as read:
        read.verify()
    with Image.open(io.BytesIO(fast_png(pixels))) as read:
        assert np.array_equal(np.asarray(read), pixels)


def judged(score: float) -> Judged:
    verdict = "anomaly" if score > 1 else "normal"
    return Judged(verdict, score, 1.0, 0.01, 0.05, [("x 40-49, y 10-19", 0.8)])


def orange(png: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    found: np.ndarray = pixels[..., 0] - pixels[..., 2]
    return found


@pytest.mark.parametrize("side", [32, 100])
def test_colours_are_where_the_error_is_and_as_strong_as_the_score(side: int) -> None:
    picture = np.full((1, side, side), 128, np.uint8)
    error = np.zeros((side, side), np.float32)
    error[: side // 4, side // 2 :] = 0.3
    strong, faint = (orange(draw_heat_map(picture, error, judged(s))) for s in (5.0, 0.2))
    shown = strong.shape[1] // 2
    assert strong[: shown // 4, shown + 40 : -40].min() > 100
    assert abs(strong[shown : shown + 100, :shown]).max() == 0
    assert 5 < faint.max() < 0.35 * strong.max()
    assert strong.min() > -20  # no colour wraps around


@pytest.mark.parametrize("error", [np.zeros((20, 20)), np.full((20, 20), np.nan)])
def test_no_error_has_no_colours(error: np.ndarray) -> None:
    png = draw_heat_map(np.zeros((3, 20, 20), np.uint8), error.astype(np.float32), judged(0.0))
    assert abs(orange(png)).max() < 20


def test_the_channel_that_fails_is_drawn_though_there_are_many() -> None:
    window = np.random.default_rng(1).normal(size=(30, 12)).astype(np.float32)
    error = np.zeros((30, 12), np.float32)
    error[10:20, 11] = 4
    names = [f"sensor {at} $x$" for at in range(12)]
    assert (orange(draw_error_signals(window, error, names, judged(2.0))) > 100).mean() > 0.005
