"""Episodes of an environment, played by whatever turns observations into actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.environments import make

#: (n, D) float32 observations to (n,) numbers of actions.
Act = Callable[[NDArray[np.float32]], NDArray[np.int64]]
#: Environments that are stepped in turn, so that their observations go through a graph together.
TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Played:
    """Whole episodes.

    Attributes:
        returns: (E,) sum of each one's rewards, in the order of their seeds.
        lengths: (E,) steps of each.
        states: (n, D) observations that were acted on, as many as were to be kept.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    states: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode with its pictures.

    Attributes:
        frames: what each state looked like before it was acted on, (height, width, 3).
        states: (T, D). actions: (T,). rewards: (T,).
    """

    frames: tuple[NDArray[np.uint8], ...]
    states: NDArray[np.float32]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]


class _Running:
    """An environment in the middle of an episode."""

    def __init__(self, identifier: str) -> None:
        self.environment = make(identifier)
        self.number = -1
        self.observation: Any = None
        self.total, self.length = 0.0, 0

    def begin(self, number: int, seed: int) -> None:
        self.observation, _ = self.environment.reset(seed=seed + number)
        self.number, self.total, self.length = number, 0.0, 0

    def step(self, action: int) -> bool:
        """Whether the episode is over."""
        self.observation, reward, ended, cut, _ = self.environment.step(action)
        self.total += float(reward)
        self.length += 1
        return bool(ended or cut)


def play(
    identifier: str, act: Act, episodes: int, seed: int, *, steps: int = 0, keep: int = 0
) -> Played:
    """Play whole episodes.

    Args:
        identifier: of the environment.
        act: the policy.
        episodes: how many, at least.
        seed: of the first episode; the next one has the next number, whoever runs beside it.
        steps: further episodes are begun until so many steps were made.
        keep: observations to keep, at most.
    """
    running = [_Running(identifier) for _ in range(min(TOGETHER, episodes))]
    for number, one in enumerate(running):
        one.begin(number, seed)
    begun, made = len(running), 0
    done: dict[int, tuple[float, int]] = {}
    kept: list[NDArray[np.float32]] = []
    while running:
        batch = np.stack([np.asarray(one.observation, np.float32) for one in running])
        if made < keep:
            kept.append(batch)
        made += len(batch)
        going = []
        for one, action in zip(running, act(batch).tolist(), strict=True):
            if one.step(action):
                done[one.number] = (one.total, one.length)
                if begun >= episodes and made >= steps:
                    one.environment.close()
                    continue
                one.begin(begun, seed)
                begun += 1
            going.append(one)
        running = going
    ordered = [done[number] for number in sorted(done)]
    return Played(
        np.array([total for total, _ in ordered]),
        np.array([length for _, length in ordered], np.int64),
        np.concatenate(kept)[:keep] if kept else np.empty((0, 0), np.float32),
    )


def watch(identifier: str, act: Act, seed: int) -> Episode | None:
    """Play one episode and take a picture of each state; None where none can be taken."""
    plain = make(identifier)
    plain.close()
    if "rgb_array" not in (plain.metadata.get("render_modes") or ()):
        return None
    environment = make(identifier, "rgb_array")
    try:
        frames, states, actions, rewards, over = [], [], [], [], False
        observation, _ = environment.reset(seed=seed)
        while not over:
            frame = environment.render()
            if not isinstance(frame, np.ndarray):
                return None
            frames.append(frame)
            states.append(np.asarray(observation, np.float32))
            actions.append(int(act(states[-1][None])[0]))
            observation, reward, ended, cut, _ = environment.step(actions[-1])
            rewards.append(float(reward))
            over = bool(ended or cut)
    finally:
        environment.close()
    return Episode(tuple(frames), np.stack(states), np.array(actions, np.int64), np.array(rewards))
