"""The body of `act`: what it says, and what is refused, member by member."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidRequest, MalformedBody, TensorMismatch, TooLarge
from service.protocol import actions
from service.protocol.request import InferRequest
from tests.policies import manifest_of
from tests.protocol.manifests import TINY

POLICY = manifest_of()


def decode(body: Any, max_rows: int = 8) -> InferRequest:
    return actions.decode(json.dumps(body).encode(), POLICY, max_rows)


def test_a_state_is_numbers_in_order_or_by_name_in_any() -> None:
    by_order = decode({"state": [1, 2.5]})
    by_name = decode({"state": {"heat": 2.5, "wear": 1}, "id": "part-7"})
    np.testing.assert_array_equal(by_order.inputs["observation"], [[1, 2.5]])
    np.testing.assert_array_equal(by_name.inputs["observation"], [[1, 2.5]])
    assert by_order.inputs["observation"].dtype == np.float32
    assert (by_order.id, by_name.id) == (None, "part-7")
    assert set(by_order.inputs) == {"observation"}, "what is legal is for the model to complete"


def test_several_states_share_a_mask_or_have_one_each() -> None:
    states = [[1, 2], {"wear": 3, "heat": 4}]
    shared = decode({"states": states, "legal": ["wait", "run"], "noise": [1, 2, 3]})
    np.testing.assert_array_equal(shared.inputs["observation"], [[1, 2], [3, 4]])
    assert shared.inputs["legal"].tolist() == [[True, False, True]] * 2
    assert shared.inputs["noise"].tolist() == [[1, 2, 3]] * 2
    own = decode({"states": states, "legal": [["run"], ["stop"]], "noise": [[1, 2, 3], [4, 5, 6]]})
    assert own.inputs["legal"].tolist() == [[True, False, False], [False, True, False]]
    assert own.inputs["noise"].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ({}, MalformedBody, "both or none of 'state' and 'states', wanted one"),
        ({"state": [1, 2], "states": [[1, 2]]}, MalformedBody, "both or none"),
        ({"state": [1, 2], "mask": []}, MalformedBody, "got 'mask', wanted some of id, legal"),
        ({"states": []}, MalformedBody, "a list of one state or more"),
        ({"states": 5}, MalformedBody, "a list of one state or more"),
        ({"states": [[1, 2]] * 9}, TooLarge, "has 9 rows, at most 8"),
        ({"state": [1]}, TensorMismatch, r"has a state \(1\), wanted 2 numbers"),
        ({"state": 7}, TensorMismatch, "has a state 7"),
        ({"state": [1, "2"]}, TensorMismatch, "has '2' at element 1"),
        ({"state": [1, None]}, TensorMismatch, "has null at element 1"),
        ({"state": [1, True]}, TensorMismatch, "has true at element 1"),
        ({"state": [1, 1e39]}, TensorMismatch, r"has 1e\+39 at element 1"),
        ({"state": [1, [2]]}, TensorMismatch, "at element 1"),
        ({"state": [[1], [2]]}, TensorMismatch, "ragged"),
        ({"state": {"wear": 1}}, TensorMismatch, "lacks the features 'heat'"),
        ({"state": {"wear": 1, "heat": 2, "x": 3}}, TensorMismatch, "unknown features 'x'"),
        ({"state": [1, 2], "legal": "run"}, TensorMismatch, "'legal' has 'run', wanted a list"),
        ({"state": [1, 2], "legal": ["fly"]}, TensorMismatch, "'legal' has 'fly', wanted some of"),
        ({"state": [1, 2], "legal": [1]}, TensorMismatch, "'legal' has 1"),
        ({"state": [1, 2], "legal": [["run"], ["run"]]}, TensorMismatch, "each of the 1 states"),
        ({"state": [1, 2], "noise": [1, 2]}, TensorMismatch, "3 numbers, one an action"),
        ({"state": [1, 2], "noise": [1, 2, None]}, TensorMismatch, "has null at element 2"),
        ({"state": [1, 2], "id": 4}, MalformedBody, "id: got 4, wanted a string"),
        ([], MalformedBody, "wanted a JSON object"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    body: Any, error: type[InvalidRequest], said: str
) -> None:
    with pytest.raises(error, match=said):
        decode(body)


def test_nan_is_no_json() -> None:
    with pytest.raises(MalformedBody, match="no valid JSON"):
        actions.decode(b'{"state": [1, NaN]}', POLICY, 8)


def test_a_model_that_does_not_act_says_what_it_does() -> None:
    with pytest.raises(InvalidRequest, match="this model can classify, not act"):
        actions.decode(b'{"state": [1]}', TINY, 8)


def answer(rows: int) -> dict[str, Any]:
    return {
        "preference": np.array([[0.5, 0.25, -1]] * rows, np.float32),
        "action_number": np.array([2] * rows),
        "outside": np.array([0.5] * rows, np.float32),
        "outside_feature_number": np.array([1] * rows),
        "safe_default": np.array([True] * rows),
        "action": np.array(["wait"] * rows, object),
        "outside_feature": np.array(["heat"] * rows, object),
    }


def test_the_answer_to_one_state_is_an_object_and_to_several_a_list() -> None:
    said = {
        "action": "wait", "action_number": 2, "safe_default": True, "outside": 0.5,
        "outside_feature": "heat", "preference": {"run": 0.5, "stop": 0.25, "wait": -1.0},
    }  # fmt: skip
    one = json.loads(
        actions.encode(POLICY, answer(1), decode({"state": [1, 2]}), {"record_id": "r"})
    )
    assert one == {
        "model_name": "small-policy", "model_version": "1", "parameters": {"record_id": "r"}, **said
    }  # fmt: skip
    asked = decode({"states": [[1, 2], [1, 2]], "id": "x"})
    two = json.loads(actions.encode(POLICY, answer(2), asked, {}))
    assert (two["actions"], two["id"]) == ([said, said], "x")
    single = json.loads(actions.encode(POLICY, answer(1), decode({"states": [[1, 2]]}), {}))
    assert single["actions"] == [said], "a list that was sent is answered by a list"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["run", "wear", "heat"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["state", "states", "legal", "noise", "id", "wear", "heat", "x"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_whatever_is_sent_is_a_request_or_a_refusal(body: Any) -> None:
    try:
        request = decode(body)
    except InvalidRequest:
        return
    assert np.isfinite(request.inputs["observation"]).all()
