"""A served policy where a program expects an agent: it drives an environment over HTTP.

    policy = GlasslinePolicy("http://127.0.0.1:3000", "policy-cartpole")
    environment = gymnasium.make("CartPole-v1")
    print(policy.episode(environment, seed=1).total)

Environments are used by gymnasium's interface (`reset`, `step`); gymnasium itself is not needed
here. `predict` has the signature of stable-baselines3's agents, so that its `evaluate_policy` and
whatever else takes an agent takes this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.client import Client, ClientError


class Environment(Protocol):
    """What an environment must have; gymnasium's do."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: the first observation."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act: observation, reward, whether it ended, whether it was cut."""


@dataclass(frozen=True, slots=True)
class Driven:
    """An episode that was driven: its rewards, and the records of its decisions, step by step."""

    rewards: tuple[float, ...]
    records: tuple[str | None, ...]
    safe_defaults: int

    @property
    def total(self) -> float:
        """The return."""
        return sum(self.rewards)


class GlasslinePolicy:
    """A policy on a Glassline server.

    Args:
        url: of the server, such as http://127.0.0.1:3000.
        model: `name` or `name@version`.
        api_key: sent with every request, if the server wants one.
        seed: of the noise that samples are drawn with.

    Raises:
        ClientError: the server does not answer, or the model does not act.
    """

    def __init__(self, url: str, model: str, api_key: str | None = None, seed: int = 0) -> None:
        self._client = Client(url, api_key)
        self._random = np.random.default_rng(seed)
        self._model = self._client.choose(model)
        try:
            #: what the manifest says of states and actions
            self.description: dict[str, Any] = self._client.policy(self._model)
        except ClientError:
            self._client.close()
            raise
        self.actions: tuple[str, ...] = tuple(self.description["actions"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def act(
        self,
        observation: ArrayLike,
        legal: Sequence[str] | None = None,
        *,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """What to do in one state.

        Args:
            observation: (D,) numbers in the manifest's order.
            legal: names of the legal actions; None = all.
            deterministic: the best action; else a sample, by Gumbel noise.

        Returns:
            The server's answer: `action`, `action_number`, `preference`, `safe_default`, `outside`,
            `outside_feature`, and under `parameters` the record's id.

        Raises:
            ClientError: the server refuses, or does not answer.
        """
        body: dict[str, Any] = {"state": np.asarray(observation, np.float64).ravel().tolist()}
        if legal is not None:
            body["legal"] = list(legal)
        if not deterministic:
            body["noise"] = self._random.gumbel(size=len(self.actions)).tolist()
        answer: dict[str, Any] = self._client.act(self._model, body)
        return answer

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], Any]:
        """The number of the action in one state (D,), or of each in several (n, D).

        Args:
            observation: as the environment gives it.
            state: of recurrent agents; handed back as it is.
            episode_start: of recurrent agents; not read.
            deterministic: see `act`.

        Raises:
            ClientError: see `act`.
        """
        _ = episode_start
        states = np.asarray(observation, np.float64)
        if states.ndim == 1:
            answer = self.act(states, deterministic=deterministic)
            return np.array(answer["action_number"], np.int64), state
        body: dict[str, Any] = {"states": states.tolist()}
        if not deterministic:
            body["noise"] = self._random.gumbel(size=(len(states), len(self.actions))).tolist()
        found = self._client.act(self._model, body)["actions"]
        return np.array([one["action_number"] for one in found], np.int64), state

    def episode(
        self, environment: Environment, seed: int | None = None, *, deterministic: bool = True
    ) -> Driven:
        """Drive an environment through one episode.

        Args:
            environment: of the interface of gymnasium; it must be the one that the policy knows.
            seed: of the episode.
            deterministic: see `act`.

        Raises:
            ClientError: see `act`.
        """
        observation, _ = environment.reset(seed=seed)
        rewards, records, safe, over = [], [], 0, False
        while not over:
            answer = self.act(observation, deterministic=deterministic)
            observation, reward, ended, cut, _ = environment.step(answer["action_number"])
            rewards.append(float(reward))
            records.append(answer["parameters"].get("record_id"))
            safe += bool(answer["safe_default"])  # null in a fail-safe, which is no policy's
            over = bool(ended or cut)
        return Driven(tuple(rewards), tuple(records), safe)
