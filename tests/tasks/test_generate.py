"""What a generation is asked with: noise that was sent, or that a seed stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import InvalidParameter
from service.manifest import ExplainerDefaults, Manifest, Tensor
from service.tasks.generate import FURTHEST, MOST, columns, drawn_noise, grey_levels
from tests.small_generator import LABELS, NOISE, generator_manifest

#: numpy.random.default_rng(7).standard_normal((3, 2), numpy.float32), as NumPy 2.4 draws it
OF_SEVEN = [1.5219693, -1.1441058, 1.1501616, -1.7846532, -0.7714987, 1.0191615]
PLAIN, TOLD = generator_manifest(), generator_manifest(conditional=True)


def test_a_seed_stands_for_the_noise_that_anybody_can_draw() -> None:
    noise = drawn_noise(7, 3, 2)
    assert noise.dtype == np.float32
    assert noise.ravel().tolist() == pytest.approx(OF_SEVEN, rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_fewer_rows_are_the_first_of_more(seed: int, rows: int, more: int) -> None:
    some, all_of_them = drawn_noise(seed, rows, 5), drawn_noise(seed, rows + more, 5)
    assert np.array_equal(some, all_of_them[:rows])
    assert np.abs(all_of_them).max() < FURTHEST


def test_noise_that_was_sent_is_taken_as_it_is() -> None:
    noise = np.zeros((2, NOISE), np.float32)
    found, rest = columns({"binary_data_output": True}, {"noise": noise}, PLAIN, 1024)
    assert list(found) == ["noise"]
    assert found["noise"] is noise
    assert rest == {"binary_data_output": True}


def test_without_a_seed_each_request_has_one_of_its_own() -> None:
    seeds = {int(columns({}, {}, PLAIN, 1024)[0]["seed"][0]) for _ in range(20)}
    assert len(seeds) == 20


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"count": 4}, [0, 1, 2, 0]),
        ({"count": 2, "label": "bright"}, [2, 2]),
        ({"count": "2", "label": 1}, [1, 1]),
        ({"label": "2"}, [2]),
    ],
)
def test_labels_are_named_or_numbered_or_taken_in_turn(
    asked: dict[str, Any], wanted: list[int]
) -> None:
    found, _ = columns({"seed": 1, **asked}, {}, TOLD, 1024)
    assert found["label"].tolist() == wanted
    assert found["noise"].shape == (len(wanted), NOISE)
    assert found["seed"].tolist() == [1] * len(wanted)


def test_a_label_for_each_row_may_be_sent_and_noise_drawn() -> None:
    labels = np.array([2, 0], np.int64)
    found, _ = columns({"seed": "5"}, {"label": labels}, TOLD, 1024)
    assert found["label"] is labels
    assert np.array_equal(found["noise"], drawn_noise(5, 2, NOISE))


SENT = {"noise": np.zeros((1, NOISE), np.float32)}


@pytest.mark.parametrize(
    ("asked", "sent", "manifest", "message"),
    [
        ({"seed": -1}, {}, PLAIN, "seed: Input should be greater than or equal to 0"),
        ({"seed": 2**32}, {}, PLAIN, "seed: Input should be less than or equal to"),
        ({"seed": True}, {}, PLAIN, "seed: .*a number"),
        ({"seed": "seven"}, {}, PLAIN, "seed: .*got 'seven'"),
        ({"count": 0}, {}, PLAIN, "count: Input should be greater than or equal to 1"),
        ({"count": MOST + 1}, {}, PLAIN, "count: Input should be less than or equal to 256"),
        ({"count": 9}, {}, PLAIN, "count: got 9, wanted 1 to 8"),
        ({"seed": 1}, SENT, PLAIN, "seed: got 1 beside the noise itself"),
        ({"count": 1}, SENT, PLAIN, "count: got 1 beside the noise itself"),
        ({"label": "bright"}, {}, PLAIN, "told nothing but its noise"),
        ({"label": "loud"}, {}, TOLD, "label: got 'loud', wanted one of dark, grey, bright"),
        ({"label": 3}, {}, TOLD, "an index from 0 to 2"),
        ({"label": -1}, {}, TOLD, "label: got -1"),
        ({"label": True}, {}, TOLD, "label"),
        ({"label": 1.5}, {}, TOLD, "label"),
        ({"label": 1}, {"label": np.zeros(2, np.int64)}, TOLD, "beside the tensor of labels"),
        ({"count": 3}, {"label": np.zeros(2, np.int64)}, TOLD, "got 3 beside 2 labels"),
        ({}, {"label": np.zeros(9, np.int64)}, TOLD, "got 9, wanted 1 to 8"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    asked: dict[str, Any], sent: dict[str, Any], manifest: Manifest, message: str
) -> None:
    with pytest.raises(InvalidParameter, match=message):
        columns(asked, sent, manifest, max_rows=8)


def test_pictures_are_rounded_to_grey_levels() -> None:
    shown = grey_levels(np.array([-0.5, 0, 0.5, 1, 2, 127.4 / 255, 127.6 / 255], np.float32))
    assert shown.tolist() == [0, 0, 128, 255, 255, 127, 128]
    assert grey_levels(np.array([7], np.uint8)).tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": TOLD.inputs}, "takes 'label'"),
        ({"labels": LABELS}, "takes 'label'"),
        ({"inputs": (Tensor(name="noise", datatype="FP32", shape=(-1, -1)),)}, "is 'noise'"),
        ({"inputs": (Tensor(name="x", datatype="FP32", shape=(-1, 3)),)}, "got 'x'"),
        ({"explainer": ExplainerDefaults(modality="table")}, "no explainer"),
    ],
)  # fmt: skip
def test_a_manifest_that_generates_has_noise_and_no_explainer(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate({**dict(PLAIN), **change})
