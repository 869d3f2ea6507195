import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.segmentation import quickshift

from service.errors import ExplanationError, InvalidParameter
from service.explain.segment import METHODS, segment


def photograph(side: int) -> NDArray[np.uint8]:
    cat = Image.fromarray(data.chelsea()[:, 75:375]).resize((side, side))
    return np.ascontiguousarray(np.asarray(cat).transpose(2, 0, 1))


def stroke(side: int) -> NDArray[np.uint8]:
    """A mostly black picture with one soft bar near its left edge."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    return (240 * np.exp(-((x + 0.3) ** 2) / 0.01 - y**4 / 0.01)).astype(np.uint8)[None]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_labels_have_no_gap_and_come_out_the_same_again(method: str, channels: int) -> None:
    image = np.repeat(photograph(80)[:1], channels, axis=0)
    image[-1] = image[-1][::-1]
    found = segment(image, method)
    assert found.labels.dtype == np.int32
    assert found.labels.shape == (80, 80)
    assert np.array_equal(np.unique(found.labels), np.arange(found.count))
    assert np.array_equal(segment(image.copy(), method).labels, found.labels)
    assert found.method != "auto"
    assert bool(found.reason) is (method == "auto")


@pytest.mark.parametrize("side", [28, 32])
def test_auto_gives_a_digit_ten_segments_where_upstreams_default_gives_one(side: int) -> None:
    digit = stroke(side)
    grey = np.repeat(digit.transpose(1, 2, 0), 3, axis=2)
    assert np.unique(quickshift(grey, kernel_size=4, max_dist=200, ratio=0.2)).size == 1
    found = segment(digit)
    assert 10 <= found.count <= 40
    assert "segmentation-fits-size" in found.corrections


@pytest.mark.parametrize("side", [64, 128, 224])
def test_auto_gives_a_photograph_forty_to_eighty_segments_along_its_edges(side: int) -> None:
    image = photograph(side)
    found = segment(image)
    assert found.method == "slic"
    assert 40 <= found.count <= 80
    # Brightness steps are larger across segment borders than elsewhere.
    step = np.abs(np.diff(image.astype(float).mean(axis=0), axis=1))
    border = np.diff(found.labels, axis=1) != 0
    assert step[border].mean() > 1.3 * step[~border].mean()


def test_auto_takes_the_grid_where_slic_finds_too_little_and_says_so() -> None:
    image = photograph(3)
    found = segment(image)
    assert (found.method, found.count, found.parameters) == ("grid", 9, {"rows": 3, "columns": 3})
    assert "fewer than 10" in found.reason


@pytest.mark.parametrize(("side", "cells"), [(32, 25), (224, 64), (3, 9)])
def test_grid_cells(side: int, cells: int) -> None:
    assert segment(np.zeros((1, side, side), np.uint8), "grid").count == cells


@pytest.mark.parametrize("method", [m for m in METHODS if m != "grid"])
def test_one_colour_is_refused_with_the_remedy(method: str) -> None:
    with pytest.raises(ExplanationError, match="segmentation=grid"):
        segment(np.full((3, 32, 32), 7, np.uint8), method)


def test_one_segment_is_refused_with_the_remedy() -> None:
    with pytest.raises(ExplanationError, match=r"found 1 segment .* segmentation=grid"):
        segment(stroke(28), "quickshift")


def test_a_single_pixel_cannot_be_cut() -> None:
    with pytest.raises(ExplanationError, match="1 x 1 pixels"):
        segment(np.zeros((1, 1, 1), np.uint8), "grid")


def test_unknown_method_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidParameter, match="'watershed', wanted one of auto, quickshift"):
        segment(photograph(32), "watershed")
