"""From the graph's decision to words, and to what a state may be at all."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import TensorMismatch
from service.inference.states import States
from service.tasks.act import Actor
from tests.policies import manifest_of

MANIFEST = manifest_of()
STATE = np.array([[5, 30]], np.float32)


def test_numbers_become_names_and_only_what_lies_outside_is_named() -> None:
    answer = Actor(MANIFEST).answer(
        {
            "preference": np.zeros((3, 3), np.float32),
            "action_number": np.array([2, 0, 1]),
            "outside": np.array([0, 0.5, 2], np.float32),
            "outside_feature_number": np.array([1, 0, 1]),
            "safe_default": np.array([False, False, True]),
        }
    )
    assert answer["action"].tolist() == ["wait", "run", "stop"]
    assert answer["outside_feature"].tolist() == ["", "wear", "heat"]
    assert list(answer)[:5] == [one.name for one in MANIFEST.outputs]


def test_what_nobody_says_is_legal_and_without_noise() -> None:
    given = {"observation": STATE.repeat(2, axis=0)}
    admitted = States(MANIFEST).admit(given)
    assert admitted["legal"].tolist() == [[True] * 3] * 2
    assert admitted["noise"].tolist() == [[0.0] * 3] * 2
    assert admitted["noise"].dtype == np.float32


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ((11, 30), r"row 0: got 11 for 'wear', wanted 0 to 10 level"),
        ((-0.5, 30), r"got -0.5 for 'wear'"),
        ((5, np.nan), r"got nan for 'heat', wanted a finite number"),
        ((5, -np.inf), r"got -inf for 'heat'"),
    ],
)
def test_what_a_feature_cannot_be_is_refused(state: tuple[float, float], said: str) -> None:
    with pytest.raises(TensorMismatch, match=said):
        States(MANIFEST).admit({"observation": np.array([state], np.float32)})


def test_what_training_never_saw_is_not_refused_but_flagged_later() -> None:
    far = np.array([[5, 4000]], np.float32)
    assert States(MANIFEST).admit({"observation": far})["observation"] is far


def test_a_state_without_a_legal_action_is_refused_and_named() -> None:
    legal = np.array([[True, False, False], [False] * 3])
    with pytest.raises(TensorMismatch, match="'legal', row 1: got no legal action, wanted at lea"):
        States(MANIFEST).admit({"observation": STATE.repeat(2, axis=0), "legal": legal})
