"""Calibration scores are read back as they were written, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.anomaly.reference import from_npy, reference, to_npy
from service.errors import CalibrationError


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_scores_are_ascending_and_those_of_a_graph(scores: list[float]) -> None:
    ascending = reference(np.array(scores))
    assert (np.diff(ascending) >= 0).all()
    assert sorted(np.float32(scores).tolist()) == ascending.tolist()
    assert np.array_equal(from_npy(to_npy(ascending)), ascending)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_scores_that_are_no_numbers_are_refused_by_their_place(bad: float) -> None:
    with pytest.raises(CalibrationError, match="at 1, wanted finite numbers"):
        reference(np.array([0.0, bad]))


def test_no_scores_are_refused() -> None:
    with pytest.raises(CalibrationError, match="got none"):
        reference(np.empty((0, 1)))


@given(st.binary(max_size=200))
@example(b"PK\x03\x04")  # begins as a zip archive does
@example(b"\x93NUMPY\x01\x00")
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(CalibrationError, match="calibration scores"):
        from_npy(content)


@pytest.mark.parametrize(
    "scores",
    [np.array([2.0, 1.0]), np.array([1.0, np.nan]), np.empty(0), np.ones((2, 2)),
     np.ones(2, np.float32)],
)  # fmt: skip
def test_another_array_is_refused(scores: np.ndarray) -> None:
    import io

    file = io.BytesIO()
    np.save(file, scores)
    with pytest.raises(CalibrationError, match="wanted"):
        from_npy(file.getvalue())
