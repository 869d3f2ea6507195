"""ToolWear-v0: when to replace a tool that wears. Small enough to know the best policy exactly.

A machine tool cuts one batch a step. Its wear is one of 12 levels, 0 = new; the next batch is of
mild or of hard steel. Each step one of three actions is taken:

| action | parts | wear a step on mild steel | on hard steel |
|---|---|---|---|
| run | 10 | +0: .5, +1: .4, +2: .1 | +0: .2, +1: .4, +2: .3, +3: .1 |
| slow down | 6 | +0: .8, +1: .2 | +0: .5, +1: .4, +2: .1 |
| replace | 0 | the tool is new | the tool is new |

A part is scrap with the chance 0.7 (wear / 11)², half of it when slow. Wear beyond level 11 breaks
the tool: the whole batch is scrap, and a new tool is put in. The next batch is of the same steel
as this one with the chance 0.9 after mild and 0.8 after hard.

reward = good parts - scrap parts - 30 for each new tool - 40 more where the old one broke.

An episode begins with a new tool and mild steel and is cut, not ended, after 200 steps; what it is
worth is its return discounted by 0.99 a step. The process is a finite Markov decision process of
24 states: `transitions` and `expected_rewards` are its tables, from which value iteration has
the optimum (Puterman 1994, "Markov decision processes", ch. 6).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from training.envs.drawing import Scene

#: Levels of wear, kinds of steel, and steps of an episode.
LEVELS, STEELS, STEPS = 12, 2, 200
RUN, SLOW, REPLACE = range(3)
ACTIONS = ("run", "slow down", "replace")
#: Parts a batch, by action.
PARTS = (10, 6, 0)
#: Chances of wear growing by 0, 1, 2, 3, by steel, of run and slow.
GROWTH = (
    ((0.5, 0.4, 0.1, 0.0), (0.2, 0.4, 0.3, 0.1)),
    ((0.8, 0.2, 0.0, 0.0), (0.5, 0.4, 0.1, 0.0)),
)
#: Chance that the next batch is of the same steel, by steel.
SAME_STEEL = (0.9, 0.8)
WORST_SCRAP = 0.7
NEW_TOOL, BREAKAGE = 30.0, 40.0
DISCOUNT = 0.99


def scrap_rate(wear: int, action: int) -> float:
    """Chance that a part is scrap."""
    rate = WORST_SCRAP * (wear / (LEVELS - 1)) ** 2
    return rate / 2 if action == SLOW else rate


def state_number(wear: int, steel: int) -> int:
    """Where a state stands in the tables."""
    return wear * STEELS + steel


def _outcomes(wear: int, steel: int, action: int) -> list[tuple[float, int, bool]]:
    """(chance, next wear, whether the tool broke) of each growth of the wear."""
    if action == REPLACE:
        return [(1.0, 0, False)]
    return [
        (chance, 0 if wear + more >= LEVELS else wear + more, wear + more >= LEVELS)
        for more, chance in enumerate(GROWTH[action][steel])
    ]


def transitions() -> NDArray[np.float64]:
    """(3, 24, 24) chances: action, state, next state; each row sums to 1."""
    table = np.zeros((len(ACTIONS), LEVELS * STEELS, LEVELS * STEELS))
    for action in range(len(ACTIONS)):
        for wear in range(LEVELS):
            for steel in range(STEELS):
                row = table[action, state_number(wear, steel)]
                for chance, after, _ in _outcomes(wear, steel, action):
                    same = SAME_STEEL[steel]
                    row[state_number(after, steel)] += chance * same
                    row[state_number(after, 1 - steel)] += chance * (1 - same)
    return table


def expected_rewards() -> NDArray[np.float64]:
    """(3, 24) mean rewards: action, state."""
    table = np.zeros((len(ACTIONS), LEVELS * STEELS))
    for wear in range(LEVELS):
        for steel in range(STEELS):
            at = state_number(wear, steel)
            table[REPLACE, at] = -NEW_TOOL
            for action in (RUN, SLOW):
                usual = PARTS[action] * (1 - 2 * scrap_rate(wear, action))
                for chance, _, broke in _outcomes(wear, steel, action):
                    lost = -PARTS[action] - NEW_TOOL - BREAKAGE
                    table[action, at] += chance * (lost if broke else usual)
    return table


def observations() -> NDArray[np.float32]:
    """(24, 2) what each state looks like, in the order of the tables."""
    return np.array([[w, s] for w in range(LEVELS) for s in range(STEELS)], np.float32)


class ToolWear(gymnasium.Env[NDArray[np.float32], np.int64]):
    """The environment; see the module for its process.

    Observations are float32 (2,): wear 0 to 11, steel 0 = mild or 1 = hard.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 8,
        "features": ("wear", "hard steel"),
        "units": ("", ""),
        "actions": ACTIONS,
        "default_action": "slow down",
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(
            np.zeros(2, np.float32), np.array([LEVELS - 1, 1], np.float32)
        )
        self.action_space = spaces.Discrete(len(ACTIONS))
        self._wear, self._steel = 0, 0
        self._total, self._last = 0.0, ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """A new tool and mild steel."""
        super().reset(seed=seed, options=options)
        self._wear, self._steel, self._total, self._last = 0, 0, 0.0, ""
        return self._observation(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Cut a batch, or replace the tool; never ends by itself."""
        taken = int(action)
        after, broke = self._drawn(_outcomes(self._wear, self._steel, taken))
        scrap = int(self.np_random.binomial(PARTS[taken], scrap_rate(self._wear, taken)))
        scrap = PARTS[taken] if broke else scrap
        reward = float(PARTS[taken] - 2 * scrap)
        if taken == REPLACE or broke:
            reward -= NEW_TOOL + (BREAKAGE if broke else 0)
        if self.np_random.random() >= SAME_STEEL[self._steel]:
            self._steel = 1 - self._steel
        self._wear = after
        self._total += reward
        self._last = f"{ACTIONS[taken]}{', and the tool broke' if broke else ''}"
        return self._observation(), reward, False, False, {"scrap": scrap, "broke": broke}

    def _drawn(self, outcomes: list[tuple[float, int, bool]]) -> tuple[int, bool]:
        """Next wear and whether the tool broke; a tenth of the time that `choice` takes."""
        left = self.np_random.random()
        for chance, after, broke in outcomes:
            left -= chance
            if left < 0:
                return after, broke
        return outcomes[0][1:]  # chances may sum to a last bit less than 1

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self._wear, self._steel], np.float32)

    def render(self) -> NDArray[np.uint8] | None:
        """The tool, as a picture (240, 400, 3)."""
        if self.render_mode != "rgb_array":
            return None
        scene = Scene(400, 240)
        scene.text((16, 12), "tool wear")
        scene.gauge((16, 40, 384, 80), self._wear / (LEVELS - 1), f"level {self._wear} of 11")
        steel = "hard" if self._steel else "mild"
        scene.box((16, 110, 190, 160), "dark" if self._steel else "light", f"{steel} steel next")
        scene.text((16, 178), f"last action: {self._last or 'none yet'}")
        scene.text((16, 204), f"return so far: {self._total:.0f}")
        return scene.array()
