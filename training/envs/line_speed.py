"""LineSpeed-v0: how fast to run the first of two stations, between which a buffer lies.

A step is a minute, an episode a shift of 480. Station 1 makes parts into a buffer for 60; station 2
takes 8 parts a minute out of it and finishes them. Both break down: station 2 with the chance 0.02
a minute, station 1 with 0.004 (speed / 8)³, so that haste costs; repairs take 8 and 10 minutes on
average, memoryless. Each minute the speed of station 1 is set to 0, 4, 8 or 12 parts a minute; what
it makes of that varies by a tenth (normal). Parts for which the buffer has no room are not made.

reward = parts finished - 0.02 x parts in the buffer - 0.01 x speed², as long as station 1 runs.

The state is continuous: parts in the buffer, whether each station is down, and for how many
minutes station 2 has been up or down (60 at most). An episode is cut, not ended, with the shift.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from training.envs.drawing import Scene

#: Parts a minute that station 1 can be set to, and that station 2 finishes.
SPEEDS, RATE = (0.0, 4.0, 8.0, 12.0), 8.0
ACTIONS = ("stop", "slow", "normal", "fast")
ROOM, SHIFT, LONGEST = 60.0, 480, 60.0
FAILS_1, FAILS_2 = 0.004, 0.02
REPAIR_1, REPAIR_2 = 10.0, 8.0
HOLDING, ENERGY, SPREAD = 0.02, 0.01, 0.1


class LineSpeed(gymnasium.Env[NDArray[np.float32], np.int64]):
    """The environment; see the module for its process.

    Observations are float32 (4,): buffer 0 to 60 parts; station 1 down, station 2 down, 0 or 1;
    minutes that station 2 has been as it is, 0 to 60.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 20,
        "features": ("buffer", "station 1 down", "station 2 down", "since change of station 2"),
        "units": ("part", "", "", "minute"),
        "actions": ACTIONS,
        "default_action": "slow",
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(
            np.zeros(4, np.float32), np.array([ROOM, 1, 1, LONGEST], np.float32)
        )
        self.action_space = spaces.Discrete(len(ACTIONS))
        self._clear()

    def _clear(self) -> None:
        self._buffer, self._since, self._down = 0.0, 0.0, [False, False]
        self._speed, self._finished, self._total = 0.0, 0.0, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Both stations up, and a buffer of some parts."""
        super().reset(seed=seed, options=options)
        self._clear()
        self._buffer = float(self.np_random.uniform(0, ROOM / 2))
        return self._observation(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One minute."""
        self._speed = 0.0 if self._down[0] else SPEEDS[int(action)]
        varied = self._speed * (1 + SPREAD * float(self.np_random.standard_normal()))
        made = min(max(varied, 0.0), ROOM - self._buffer)
        self._buffer += made
        finished = 0.0 if self._down[1] else min(RATE, self._buffer)
        self._buffer -= finished
        reward = finished - HOLDING * self._buffer - ENERGY * self._speed**2
        self._change(0, FAILS_1 * (self._speed / 8) ** 3, 1 / REPAIR_1)
        changed = self._change(1, FAILS_2, 1 / REPAIR_2)
        self._since = 0.0 if changed else min(self._since + 1, LONGEST)
        self._finished += finished
        self._total += reward
        return self._observation(), reward, False, False, {"made": made, "finished": finished}

    def _change(self, station: int, fails: float, mended: float) -> bool:
        """Break down or be mended; whether either happened."""
        changed = bool(self.np_random.random() < (mended if self._down[station] else fails))
        self._down[station] ^= changed
        return changed

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self._buffer, *self._down, self._since], np.float32)

    def render(self) -> NDArray[np.uint8] | None:
        """The line, as a picture (240, 400, 3)."""
        if self.render_mode != "rgb_array":
            return None
        scene = Scene(400, 240)
        for x, station in ((16, 0), (284, 1)):
            down = self._down[station]
            words = "down" if down else f"{self._speed if station == 0 else RATE:.0f} a minute"
            scene.box((x, 50, x + 100, 130), "bad" if down else "good", words)
            scene.text((x, 26), f"station {station + 1}")
        scene.text((134, 26), "buffer")
        scene.gauge((134, 70, 266, 110), self._buffer / ROOM, f"{self._buffer:.0f} of {ROOM:.0f}")
        scene.text((16, 178), f"finished: {self._finished:.0f} parts")
        scene.text((16, 204), f"return so far: {self._total:.0f}")
        return scene.array()
