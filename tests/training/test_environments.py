"""Our environments are what they say; others are looked at before anything is learnt."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from training.environments import describe, make
from training.envs import line_speed, tool_wear
from training.envs.tool_wear import DISCOUNT, LEVELS, REPLACE, RUN, SLOW, STEELS, ToolWear
from training.options import WrongOption
from training.tool_wear_optimum import optimum, value_of


@pytest.mark.parametrize("identifier", ["ToolWear-v0", "LineSpeed-v0"])
def test_gymnasium_finds_nothing_wrong(identifier: str) -> None:
    check_env(make(identifier, "rgb_array").unwrapped)  # warnings are errors here


def test_the_tables_are_a_markov_decision_process() -> None:
    chances = tool_wear.transitions()
    assert chances.shape == (3, LEVELS * STEELS, LEVELS * STEELS)
    np.testing.assert_allclose(chances.sum(axis=2), 1, atol=1e-12)
    assert chances.min() >= 0
    # A new tool, mild steel, run: wear grows by 0 with .5, the next is mild with .9.
    assert chances[RUN, 0, 0] == pytest.approx(0.45)
    # Level 11, hard steel, slow: half stay, half break and are new; the next is hard with .8.
    worst = tool_wear.state_number(11, 1)
    assert chances[SLOW, worst, worst] == pytest.approx(0.4)
    assert chances[SLOW, worst, tool_wear.state_number(0, 1)] == pytest.approx(0.4)


def test_rewards_are_as_documented() -> None:
    rewards = tool_wear.expected_rewards()
    assert rewards[RUN, 0] == pytest.approx(10)
    assert rewards[SLOW, 0] == pytest.approx(6)
    assert (rewards[REPLACE] == -30).all()
    # Level 11 on mild steel: scrap .7; run breaks with .5 and then costs 10 + 30 + 40.
    assert rewards[RUN, tool_wear.state_number(11, 0)] == pytest.approx(
        0.5 * 10 * (1 - 1.4) + 0.5 * -80
    )


def test_episodes_go_as_the_tables_say() -> None:
    """A million draws would show the third decimal; ten thousand show a wrong table."""
    environment, counts = ToolWear(), np.zeros((3, 24, 24))
    rewards, random = np.zeros((3, 24)), np.random.default_rng(0)
    (wear, steel), _ = environment.reset(seed=0)
    for _ in range(20_000):
        action, at = int(random.choice(3, p=[0.6, 0.3, 0.1])), int(wear) * STEELS + int(steel)
        (wear, steel), reward, *_ = environment.step(np.int64(action))
        counts[action, at, int(wear) * STEELS + int(steel)] += 1
        rewards[action, at] += reward
    visits = counts.sum(axis=2)
    often = visits > 200
    assert often.sum() > 25
    shares = counts[often] / visits[often][:, None]
    assert np.abs(shares - tool_wear.transitions()[often]).max() < 0.12
    means = rewards[often] / visits[often]
    error = np.abs(means - tool_wear.expected_rewards()[often])
    assert (error < 6 / np.sqrt(visits[often]) * 25).all()


def test_value_iteration_finds_what_no_single_change_betters() -> None:
    """The optimum by value iteration is the value of its own policy, solved exactly."""
    values, best = optimum()
    np.testing.assert_allclose(value_of(best), values, atol=1e-6)
    chances, rewards = tool_wear.transitions(), tool_wear.expected_rewards()
    choices = rewards + DISCOUNT * chances @ values
    np.testing.assert_allclose(choices.max(axis=0), values, atol=1e-6)
    assert (choices.argmax(axis=0) == best).all()
    assert set(best.tolist()) == {RUN, SLOW, REPLACE}, "each action is the best somewhere"


def test_no_rule_of_thumb_is_as_good_as_the_optimum() -> None:
    """Replacing at a fixed level is at best 2 % worse: 99 % is not had for nothing."""
    values, _ = optimum()
    shares = []
    for level in range(1, LEVELS):
        rule = np.where(np.arange(LEVELS * STEELS) // STEELS >= level, REPLACE, RUN)
        shares.append(value_of(rule)[0] / values[0])
    assert 0.97 < max(shares) < 0.985


def test_a_line_makes_parts_and_keeps_them_in_its_buffer() -> None:
    environment = line_speed.LineSpeed()
    (parts, *_), _ = environment.reset(seed=3)
    buffer = float(parts)
    for _ in range(300):
        (parts, _, _, since), reward, _, _, info = environment.step(np.int64(3))
        buffer += info["made"] - info["finished"]
        assert float(parts) == pytest.approx(buffer, abs=1e-3)
        assert 0 <= parts <= line_speed.ROOM + 1e-4
        assert 0 <= since <= line_speed.LONGEST
        assert reward <= info["finished"]


class Odd(gymnasium.Env[Any, Any]):
    """An environment of any spaces."""

    def __init__(self, seen: spaces.Space[Any], done: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = seen, done


ROW = spaces.Box(-1, 1, (3,))
ODD = {
    "Dictionary-v0": (spaces.Dict({"a": ROW}), spaces.Discrete(2)),
    "Continuous-v0": (ROW, spaces.Box(-1, 1, (1,))),
    "Picture-v0": (spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Discrete(2)),
    "Several-v0": (ROW, spaces.MultiDiscrete([2, 3])),
    "Single-v0": (ROW, spaces.Discrete(1)),
    "Later-v0": (ROW, spaces.Discrete(2, start=1)),
}
for _name, _spaces in ODD.items():
    gymnasium.register(_name, lambda spaces=_spaces: Odd(*spaces))


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        ("Dictionary-v0", r"observes Dict\(.*wanted a Box of one axis.*FlattenObservation"),
        ("Picture-v0", r"observes Box\(.*wanted a Box of one axis"),
        ("Continuous-v0", r"acts by Box\(.*wanted Discrete of 2 or more.*dqn and ppo"),
        ("Pendulum-v1", r"acts by Box\(.*wanted Discrete"),
        ("Several-v0", r"acts by MultiDiscrete\(.*wanted Discrete"),
        ("Single-v0", r"acts by Discrete\(1\)"),
        ("Later-v0", "counts its actions from 1, wanted 0"),
        ("NoSuch-v0", "'NoSuch-v0', which cannot be made"),
        ("no.such.module:Thing-v0", "which cannot be made"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_learning(identifier: str, said: str) -> None:
    with pytest.raises(WrongOption, match=said):
        describe(identifier)


def test_names_come_from_the_environment_a_table_or_the_caller() -> None:
    assert describe("ToolWear-v0").named.features == ("wear", "hard steel")
    assert describe("LunarLander-v3").named.default == "nothing"
    found = describe("CartPole-v1", actions=("left", "right"), default="right")
    assert (found.named.actions, found.named.default) == (("left", "right"), "right")
    assert found.horizon == 500
    assert found.low[0] == pytest.approx(-4.8)
    assert found.low[1] == -np.inf
    with pytest.raises(WrongOption, match="--features: got a, b, wanted 4 names"):
        describe("CartPole-v1", features=("a", "b"))
    with pytest.raises(WrongOption, match="--default-action: got 'jump', wanted one of push left"):
        describe("CartPole-v1", default="jump")
