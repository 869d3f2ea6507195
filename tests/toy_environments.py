"""Environments that anything which learns learns in seconds."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

#: Steps of an episode; its best return is as much.
STEPS = 20


class Match(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Two lamps, one of which is on; the reward is 1 for the button beside it, else 0."""

    metadata = {"render_modes": [], "features": ("left lamp", "right lamp")}

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._on = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return self._switched(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        reward = float(int(action) == self._on)
        return self._switched(), reward, False, False, {}

    def _switched(self) -> NDArray[np.float32]:
        self._on = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self._on]


gymnasium.register("Match-v0", Match, max_episode_steps=STEPS)
