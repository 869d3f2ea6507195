"""What would have to change, worked by hand: run unless it is worn or hot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.explain.counterfactual import Change, Counterfactuals, counterfactuals, told
from service.policy import Policy
from tests.policies import POLICY

RUN, STOP, WAIT = range(3)


def rule(states: NDArray[np.float32]) -> NDArray[np.int64]:
    """Stop above wear 7, wait above 60 °C, else run."""
    return np.where(states[:, 0] > 7, STOP, np.where(states[:, 1] > 60, WAIT, RUN))


def found(wear: float, heat: float, policy: Policy = POLICY) -> Counterfactuals:
    return counterfactuals(np.array([wear, heat], np.float32), policy, rule)


def test_the_nearest_other_action_is_told_of_each_feature_nearest_first() -> None:
    told = found(3, 50).changes
    assert [(one.feature, one.action) for one in told] == [("heat", "wait"), ("wear", "stop")]
    heat, wear = told
    # 60 - 50 of a range of 60, 7 - 3 of a range of 10; sought to a thousandth of the grid's step.
    assert (heat.before, heat.after) == (50, pytest.approx(60, abs=0.001))
    assert heat.distance == pytest.approx(10 / 60, abs=1e-4)
    assert (wear.after, wear.distance) == (pytest.approx(7, abs=1e-3), pytest.approx(0.4, abs=1e-4))
    assert str(heat) == "heat 60.0 °C instead of 50 °C: wait"


def test_the_change_does_what_it_says_and_a_hair_less_does_not() -> None:
    for one in found(8.5, 70).changes:
        state = np.array([[8.5, 70]], np.float32)
        at = 0 if one.feature == "wear" else 1
        state[0, at] = one.after
        assert POLICY.actions[int(rule(state)[0])] == one.action
        state[0, at] += np.sign(one.before - one.after) * 0.01
        assert int(rule(state)[0]) == STOP


def test_no_other_value_of_one_feature_may_be_enough() -> None:
    # Worn out: whatever the heat, it stops.
    assert [one.feature for one in found(9, 50).changes] == ["wear"]
    nothing = counterfactuals(
        np.array([1, 1], np.float32), POLICY, lambda states: np.zeros(len(states), np.int64)
    )
    assert nothing.changes == ()
    assert nothing.values.shape == (0, 4)
    assert "No other value" in told(nothing.changes)


def test_a_switch_is_not_set_to_a_half() -> None:
    whole = POLICY.model_copy(
        update={
            "features": (POLICY.features[0].model_copy(update={"whole": True}), POLICY.features[1])
        }
    )
    wear = next(one for one in found(3, 50, whole).changes if one.feature == "wear")
    assert wear.after == 8


def test_it_is_written_read_and_drawn() -> None:
    evidence = found(3, 50)
    said = evidence.to_json()
    assert (said["kind"], said["shape"]) == ("counterfactual", [2, 4])
    assert [Change.from_json(one) for one in said["changes"]] == list(evidence.changes)
    np.testing.assert_array_equal(evidence.values[:, [0, 3]], [[1, WAIT], [0, STOP]])
    assert "50 → 60.0 °C: wait" in told(evidence.changes)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 10, width=32), st.floats(20, 80, width=32))
def test_it_is_right_wherever_one_looks(wear: float, heat: float) -> None:
    """Beside a search by a fine grid, which is what it saves."""
    state = np.array([wear, heat], np.float32)
    taken = rule(state[None])[0]
    for at, (low, high) in enumerate(((0, 10), (20, 80))):
        line = np.linspace(low, high, 5001, dtype=np.float32)
        states = np.repeat(state[None], len(line), axis=0)
        states[:, at] = line
        other = line[rule(states) != taken]
        name = POLICY.features[at].name
        one = next((one for one in found(wear, heat).changes if one.feature == name), None)
        if one is None:
            # Narrower than what was tried between two values.
            assert not len(other) or np.abs(other - state[at]).min() < (high - low) / 128
            continue
        nearest = np.abs(other - state[at]).min() if len(other) else one.distance * (high - low)
        assert one.distance * (high - low) <= nearest + (high - low) / 1000
