"""What may be asked of a translation, and how its answers are laid out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import InvalidParameter
from service.tasks.parameters import refuse_others
from service.tasks.translate import Asked, own_parameters, stacked
from tests.small_translator import translator_manifest

MANIFEST = translator_manifest()


def test_parameters_are_taken_out_and_the_others_left() -> None:
    given = {"beam_width": "3", "length_penalty": 1, "seed": 4, "binary_data_output": True}
    asked, rest = own_parameters(given, MANIFEST)
    assert asked == Asked(beam_width=3, length_penalty=1.0)
    assert rest == {"seed": 4, "binary_data_output": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_width": 0}, "beam_width.*greater than or equal to 1, got 0"),
        ({"beam_width": 33}, "less than or equal to 32"),
        ({"beam_width": 2.5}, "beam_width"),
        ({"beam_width": True}, "beam_width"),
        ({"beam_width": "wide"}, "beam_width.*got 'wide'"),
        ({"beam_width": None}, "beam_width"),
        ({"length_penalty": -0.1}, "length_penalty"),
        ({"length_penalty": "nan"}, "length_penalty"),
        ({"length_penalty": 2.5}, "less than or equal to 2"),
        ({"max_length": 0}, "max_length"),
        ({"max_length": 1000}, "max_length: got 1000, wanted 1 to 24"),
        ({"n_best": 6}, "n_best: got 6, but a beam of 5"),
        ({"n_best": 2, "beam_width": 1}, "Raise beam_width"),
        ({"attention": "much"}, "attention"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        own_parameters(given, MANIFEST)


def test_what_means_nothing_here_is_refused() -> None:
    refuse_others(
        {"binary_data_output": True, "priority": 1, "timeout": 5}, MANIFEST, Asked.model_fields
    )
    with pytest.raises(InvalidParameter, match="got beams, wanted some of beam_width, "):
        refuse_others({"beams": 5}, MANIFEST, Asked.model_fields)


@pytest.mark.parametrize(
    "asked",
    [
        Asked(),
        Asked(beam_width=1, length_penalty=0.0, max_length=7),
        Asked(beam_width=32, length_penalty=1.25, n_best=4, attention=True),
    ],
)
def test_parameters_travel_as_columns(asked: Asked) -> None:
    columns = asked.columns(3)
    assert {len(column) for column in columns.values()} == {3}
    assert Asked.of_columns({"source": np.array(["x"]), **columns}) == asked
    assert Asked.of_columns({"source": np.array(["x"])}) == Asked()


def test_answers_of_unequal_length_are_filled_up() -> None:
    rows = [[np.array([1, 2, 3]), np.array([4])], [np.array([5, 6])]]
    assert stacked(rows, 0, np.int64).tolist() == [
        [[1, 2, 3], [4, 0, 0]],
        [[5, 6, 0], [0, 0, 0]],
    ]
    texts = [[np.array("a", object)], [np.array("b", object)]]
    assert stacked(texts, "", object).tolist() == [["a"], ["b"]]
