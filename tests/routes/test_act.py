"""A policy over HTTP, learnt by its command a moment ago: it acts, refuses, explains, drives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import ClientError
from service.policy_client import GlasslinePolicy
from tests.by_command import trained
from tests.running_server import Server, a_server
from tests.slow_models import slowed
from tests.small_models import release_small_models
from training.environments import make

NAME = "policy-cartpole"
ACT = f"/v2/models/{NAME}/act"
INFER = f"/v2/models/{NAME}/infer"
#: The same policy half a second later, which has a tenth.
HURRIED = "hurried-cartpole"
STILL = [0.0, 0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a pole balancer that has learnt for some seconds, and a table beside it."""
    home = tmp_path_factory.mktemp("acting")
    words = "policy --steps 8192 --evaluate-every 2048 --episodes 5 --measured 5"
    trained(*words.split(), home=home)
    release_small_models(home)
    slowed(home, NAME, HURRIED)
    budget = json.dumps({HURRIED: {"ms": 100, "fail_safe": "push right"}})
    with a_server(home, GLASSLINE_DEADLINES=budget) as running:
        yield running


@pytest.fixture
def http(acting: Server) -> Iterator[httpx.Client]:
    with acting.client(120) as client:
        yield client


def feed(states: list[list[float]], **more: Any) -> dict[str, Any]:
    """The same in the tensors of the Open Inference Protocol."""
    rows = len(states)
    tensors = [("observation", "FP32", 4, states)]
    if "legal" in more:
        tensors.append(("legal", "BOOL", 2, more["legal"]))
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [rows, width], "data": data}
            for name, kind, width, data in tensors
        ]
    }


def test_act_says_what_infer_says_in_words(http: httpx.Client) -> None:
    states = [[0.1, 0.2, 0.05, 0.1], [-0.1, 0.3, -0.08, 0.2]]
    said = http.post(ACT, json={"states": states, "id": "line 7"}).json()
    tensors = {o["name"]: o["data"] for o in http.post(INFER, json=feed(states)).json()["outputs"]}
    assert [one["action"] for one in said["actions"]] == tensors["action"]
    assert [one["action_number"] for one in said["actions"]] == tensors["action_number"]
    preferences = [list(one["preference"].values()) for one in said["actions"]]
    np.testing.assert_allclose(np.ravel(preferences), tensors["preference"], rtol=1e-6)
    assert list(said["actions"][0]["preference"]) == ["push left", "push right"]
    assert said["id"] == "line 7"
    one = http.post(ACT, json={"state": states[0]}).json()
    for member in ("action", "preference", "safe_default", "outside", "outside_feature"):
        assert one[member] == said["actions"][0][member]


def test_a_late_action_is_the_fail_safe_where_that_is_legal(http: httpx.Client) -> None:
    url = f"/v2/models/{HURRIED}/act"
    said = http.post(url, json={"states": [STILL, STILL]}).json()
    assert [one["action"] for one in said["actions"]] == ["push right"] * 2
    assert [one["action_number"] for one in said["actions"]] == [1, 1]
    assert said["actions"][0]["preference"] is None
    assert (said["parameters"]["deadline_missed"], said["parameters"]["fail_safe"]) == (
        True, "push right",
    )  # fmt: skip
    record = http.get(f"/audit/records/{said['parameters']['record_id']}").json()["record"]
    assert record["decision"]["labels"] == ["push right"] * 2
    forbidden = http.post(url, json={"state": STILL, "legal": ["push left"]}).json()
    assert (forbidden["action"], forbidden["preference"].keys()) == (
        "push left", {"push left", "push right"},
    )  # fmt: skip
    assert forbidden["parameters"]["deadline_missed"]  # and it was waited for
    assert "fail_safe" not in forbidden["parameters"]


def test_features_come_by_name_and_what_they_are_stands_in_the_metadata(
    http: httpx.Client,
) -> None:
    named = {"pole tip velocity": 0.4, "pole angle": 0.1, "cart velocity": 0, "cart position": -1}
    by_name = http.post(ACT, json={"state": named}).json()
    by_order = http.post(ACT, json={"state": [-1, 0, 0.1, 0.4]}).json()
    assert by_name["preference"] == by_order["preference"]
    policy = http.get(f"/v2/models/{NAME}").json()["parameters"]["policy"]
    position = policy["features"][0]
    assert (position["name"], position["unit"]) == ("cart position", "m")
    assert position["high"] == pytest.approx(4.8)
    assert position["low"] < position["trained_low"] < position["trained_high"] < position["high"]
    assert policy["features"][1]["low"] is None, "a velocity can be anything"


def test_a_mask_forbids_and_noise_samples(http: httpx.Client) -> None:
    for name in ("push left", "push right"):
        assert http.post(ACT, json={"state": STILL, "legal": [name]}).json()["action"] == name
    for noise, name in (([9, 0], "push left"), ([0, 9], "push right")):
        assert http.post(ACT, json={"state": STILL, "noise": noise}).json()["action"] == name
    random = np.random.default_rng(0)
    body = {"states": [STILL] * 400, "noise": random.gumbel(size=(400, 2)).tolist()}
    drawn = [one["action"] for one in http.post(ACT, json=body).json()["actions"]]
    chance = np.exp(http.post(ACT, json={"state": STILL}).json()["preference"]["push left"])
    assert drawn.count("push left") / 400 == pytest.approx(chance, abs=0.1)


def test_a_state_unlike_training_gets_the_default_and_says_how_far_it_lies(
    http: httpx.Client,
) -> None:
    policy = http.get(f"/v2/models/{NAME}").json()["parameters"]["policy"]
    low, high = (policy["features"][3][name] for name in ("trained_low", "trained_high"))
    far = high + 0.5 * (high - low)
    said = http.post(ACT, json={"state": [0, 0, 0, far]}).json()
    assert (said["action"], said["safe_default"]) == ("push left", True)
    assert said["outside_feature"] == "pole tip velocity"
    assert said["outside"] == pytest.approx(0.5, rel=1e-4)
    counted = http.get("/metrics").text
    assert f'glassline_safe_defaults_total{{model="{NAME}",version="1"}} 1.0' in counted
    inside = http.post(ACT, json={"state": STILL}).json()
    assert (inside["safe_default"], inside["outside"], inside["outside_feature"]) == (
        False,
        0,
        None,
    )
    only = http.post(ACT, json={"state": [0, 0, 0, far], "legal": ["push right"]}).json()
    assert (only["action"], only["safe_default"]) == ("push right", False), "not legal, not taken"
    assert only["outside"] == said["outside"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (ACT, {"state": [0, 0, 0]}, "has a state (0, 0, 0), wanted 4 numbers"),
        (ACT, {"state": {"angle": 1}}, "lacks the features 'cart position'"),
        (ACT, {"state": [9, 0, 0, 0]}, "got 9 for 'cart position', wanted -4.8 to 4.8 m"),
        (ACT, {"state": STILL, "legal": []}, "'legal', row 0: got no legal action"),
        (ACT, {"state": STILL, "legal": ["jump"]}, "has 'jump', wanted some of 'push left'"),
        (ACT, b'{"state": [0, 0, NaN, 0]}', "no valid JSON"),
        (INFER, feed([[9, 0, 0, 0]]), "got 9 for 'cart position', wanted -4.8 to 4.8 m"),
        (INFER, feed([STILL], legal=[[False, False]]), "row 0: got no legal action"),
        ("/v2/models/parts/act", {"state": STILL}, "this model can classify, not act"),
    ],
)
def test_bad_states_are_refused_in_words(
    http: httpx.Client, path: str, body: Any, said: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = http.post(path, content=content)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_nan_in_a_binary_tensor_is_refused(http: httpx.Client) -> None:
    state = np.array([[0, 0, np.nan, 0]], np.float32).tobytes()
    header = json.dumps(
        {
            "inputs": [
                {"name": "observation", "datatype": "FP32", "shape": [1, 4],
                 "parameters": {"binary_data_size": len(state)}}
            ]
        }
    ).encode()  # fmt: skip
    answer = http.post(
        INFER, content=header + state, headers={"inference-header-content-length": str(len(header))}
    )
    assert answer.status_code == 400
    assert "NaN" in answer.text or "nan" in answer.text


def test_states_may_be_a_table(http: httpx.Client) -> None:
    table = "pole angle,cart position,pole tip velocity,cart velocity\n0.05,0.1,0.1,0.2\n0,0,0,0\n"
    answer = http.post(INFER, content=table, headers={"content-type": "text/csv"})
    assert answer.status_code == 200, answer.text
    actions = next(o["data"] for o in answer.json()["outputs"] if o["name"] == "action")
    states = [[0.1, 0.2, 0.05, 0.1], STILL]
    said = http.post(ACT, json={"states": states}).json()["actions"]
    assert actions == [one["action"] for one in said]


def test_other_media_types_are_refused(http: httpx.Client) -> None:
    answer = http.post(ACT, content=b"x", headers={"content-type": "image/png"})
    assert answer.status_code == 415


def test_both_lanes_say_the_same(http: httpx.Client) -> None:
    quick = http.post(ACT, json={"state": STILL}).json()
    slow = http.post(f"{ACT}?", json={"state": STILL}).json()  # a query goes over the other lane
    assert {**quick, "parameters": 0} == {**slow, "parameters": 0}


def test_an_act_is_recorded_replayed_and_explained(http: httpx.Client) -> None:
    said = http.post(ACT, json={"state": [0.1, 0.2, 0.05, 0.1]})
    record_id = said.headers["glassline-record-id"]
    assert said.json()["parameters"]["record_id"] == record_id
    body = http.get(f"/audit/records/{record_id}").json()
    assert said.json()["action"] in json.dumps(body)
    assert http.post(f"/audit/records/{record_id}/replay").json()["verdict"] == "bit-exact"
    why = http.post(f"/v2/records/{record_id}/explain").json()
    told = why["explanation"]
    first = told["explanations"][0]
    assert first["name"] == said.json()["action"], "the action that was taken is explained"
    assert first["score"] == pytest.approx(said.json()["preference"][first["name"]], rel=1e-6)
    assert len(first["weights"]) == 4
    assert first["r2"] > 0.5, "the numbers themselves explain it, not their quartiles"
    (evidence,) = told["evidence"]
    assert evidence["kind"] == "counterfactual"
    nearest = evidence["changes"][0]
    state = {"cart position": 0.1, "cart velocity": 0.2, "pole angle": 0.05,
             "pole tip velocity": 0.1}  # fmt: skip
    assert nearest["from"] == pytest.approx(state[nearest["feature"]], rel=1e-6)
    state[nearest["feature"]] = nearest["to"]
    changed = http.post(ACT, json={"state": state}).json()
    assert changed["action"] == nearest["action"] != first["name"]
    again = http.post(f"/audit/records/{why['explanation_id']}/replay").json()
    assert again["verdict"] == "bit-exact"
    page = http.get(f"/v2/explanations/{why['explanation_id']}", headers={"accept": "text/html"})
    assert "What would have to change" in page.text
    assert http.get(f"/audit/records/{record_id}/report").status_code == 200


def test_the_masked_action_is_what_is_explained(http: httpx.Client) -> None:
    preferred = http.post(ACT, json={"state": STILL}).json()["action"]
    other = {"push left": "push right", "push right": "push left"}[preferred]
    legal = [[name == other for name in ("push left", "push right")]]
    why = http.post(f"/v2/models/{NAME}/explain", json=feed([STILL], legal=legal)).json()
    assert why["explanation"]["explanations"][0]["name"] == other
    assert why["explanation"]["evidence"][0]["changes"] == [], "nothing else is legal"


def test_the_page_shows_an_episode_and_its_reasons(http: httpx.Client) -> None:
    page = http.get(f"/v2/models/{NAME}/page", headers={"accept": "text/html"}).text
    assert "data:image/gif;base64," in page
    assert page.count('<section class="step">') >= 5
    assert "It would have been another action with" in page


def test_the_served_policy_balances_the_pole(acting: Server) -> None:
    environment = make("CartPole-v1")
    with GlasslinePolicy(acting.url, NAME) as policy:
        driven = policy.episode(environment, seed=11)
        again = policy.episode(environment, seed=11)
        assert driven.rewards == again.rewards
        assert driven.total > 60, "a random one falls after some twenty steps"
        assert len(set(driven.records)) == len(driven.rewards)
    environment.close()


def test_it_stands_where_an_agent_is_expected(acting: Server) -> None:
    """stable-baselines3's own evaluation asks it about all environments at once."""
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    environments = DummyVecEnv([lambda: make("CartPole-v1")] * 2)
    with GlasslinePolicy(acting.url, f"{NAME}@1", seed=4) as policy:
        mean, _ = evaluate_policy(policy, environments, 4, warn=False)  # type: ignore[arg-type]
        assert mean > 60
        samples = {int(policy.predict(np.zeros(4))[0]) for _ in range(40)}
        assert samples == {0, 1}, "without `deterministic` it samples"
    environments.close()


def test_what_does_not_act_is_no_policy(acting: Server) -> None:
    with pytest.raises(ClientError, match="parts can classify, not act"):
        GlasslinePolicy(acting.url, "parts")
