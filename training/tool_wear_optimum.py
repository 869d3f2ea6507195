"""The best that can be done in ToolWear-v0, exactly: a policy's figure is a share of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.envs.tool_wear import DISCOUNT, expected_rewards, transitions

#: Values change by less than this in the last sweep.
EXACT = 1e-9


def optimum() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values (24,) and actions (24,) of the best policy, by value iteration.

    Source: Puterman 1994, "Markov decision processes", sec. 6.3.
    """
    chances, rewards = transitions(), expected_rewards()
    values = np.zeros(rewards.shape[1])
    while True:
        choices = rewards + DISCOUNT * chances @ values
        better = choices.max(axis=0)
        if np.abs(better - values).max() < EXACT * (1 - DISCOUNT):
            return better, choices.argmax(axis=0)
        values = better


def value_of(actions: NDArray[np.int64]) -> NDArray[np.float64]:
    """(24,) discounted return of a policy from each state: its linear equations, solved.

    Args:
        actions: (24,) what it does in each state, in the order of the tables.
    """
    states = np.arange(len(actions))
    chances, rewards = transitions()[actions, states], expected_rewards()[actions, states]
    left = np.eye(len(states)) - DISCOUNT * chances
    return np.asarray(np.linalg.solve(left, rewards), np.float64)
