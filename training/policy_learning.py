"""stable-baselines3's PPO and DQN on vectorised environments, watched from outside.

What is released is not what stands at the end, but the policy that did best in an evaluation
without chance in its actions: learning can end badly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import nn

from models.policy import CLIP, EPSILON, Bounds, PolicyNetwork
from service.errors import GlasslineError
from training.environments import Environment, make
from training.episodes import Act, play
from training.lessons import one_thread
from training.policy_options import Algorithm, PolicyOptions

#: Evaluations play episodes with these seeds, training never does, and figures others again.
EVALUATED_FROM = 1_000_000
#: Returns of training episodes are averaged over so many.
LAST = 100
_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(slots=True)
class Progress:
    """How far learning is; what a checkpoint keeps besides weights.

    Attributes:
        steps: of the environments, so far.
        low, high: (D,) smallest and largest value of each feature so far.
        curve: (steps, mean return of the last training episodes, mean return of the evaluation,
            its deviation) after each evaluation.
        best: the evaluation's mean return that is highest, and after how many steps.
        weights: of the `PolicyNetwork` then.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    steps: int = 0
    curve: list[tuple[int, float, float, float]] = field(default_factory=list)
    best: tuple[float, int] = (-np.inf, 0)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def none(cls, width: int) -> Progress:
        """Before the first step."""
        return cls(np.full(width, np.inf, np.float32), np.full(width, -np.inf, np.float32))


class Learner:
    """One algorithm on one environment.

    Args:
        algorithm: which.
        environment: checked already.
        options: how.
    """

    def __init__(
        self, algorithm: Algorithm, environment: Environment, options: PolicyOptions
    ) -> None:
        self.environment = environment
        self.options = options
        self.logits = algorithm == "ppo"
        plain: VecEnv = DummyVecEnv(
            [lambda: Monitor(make(environment.id)) for _ in range(options.envs)]
        )
        self.normaliser = (
            VecNormalize(plain, gamma=options.gamma, clip_obs=CLIP, epsilon=EPSILON)
            if options.normalise
            else None
        )
        self.venv = self.normaliser or plain
        build = _ppo if algorithm == "ppo" else _dqn
        self.model = build(self.venv, options)
        self.progress = Progress.none(len(environment.low))

    def policy(self, tolerance: float) -> PolicyNetwork:
        """The policy as it stands, as it would be served."""
        named, width = self.environment.named, len(self.environment.low)
        progress = self.progress
        low, high = progress.low, progress.high
        if not progress.steps:
            low, high = np.zeros(width, np.float32), np.zeros(width, np.float32)
        moments: Any = self.normaliser.obs_rms if self.normaliser else None
        return PolicyNetwork(
            copy.deepcopy(self._network()).cpu(),
            None if moments is None else moments.mean.tolist(),
            None if moments is None else moments.var.tolist(),
            Bounds(low.tolist(), high.tolist(), named.actions.index(named.default), tolerance),
            logits=self.logits,
        ).eval()

    def _network(self) -> nn.Module:
        policy: Any = self.model.policy
        if self.logits:
            return nn.Sequential(*policy.mlp_extractor.policy_net, policy.action_net)
        return nn.Sequential(*policy.q_net.q_net)

    def best(self, tolerance: float) -> PolicyNetwork:
        """The policy that did best in an evaluation, with the bounds of all that training saw."""
        policy = self.policy(tolerance)
        bounds = {name: policy.state_dict()[name] for name in ("low", "high", "width")}
        policy.load_state_dict({**self.progress.weights, **bounds})
        return policy.eval()

    def learn(self, tell: Callable[[Progress], None]) -> None:
        """Learn until all steps are made; `tell` is called after each evaluation.

        Raises:
            GlasslineError: it diverged.
        """
        left = self.options.steps - self.progress.steps
        self.model.num_timesteps = self.progress.steps
        self.venv.seed(self.options.seed + self.progress.steps)
        watcher = _Watcher(self, tell)
        try:
            with one_thread():
                if left > 0:
                    self.model.learn(left, watcher, reset_num_timesteps=self.progress.steps == 0)
                watcher.evaluate()
        except ValueError as error:  # torch's distributions refuse NaN in these words
            if "nan" not in str(error).lower():
                raise
            raise GlasslineError(
                f"learning diverged after {self.progress.steps} steps: the network answers NaN. "
                "Try a lower --learning-rate, or --normalise."
            ) from None
        self.venv.close()


class _Watcher(BaseCallback):
    """Evaluates now and then, keeps the best weights, and knows what states there were."""

    def __init__(self, learner: Learner, tell: Callable[[Progress], None]) -> None:
        super().__init__()
        self._learner = learner
        self._tell = tell
        self._next = learner.progress.steps + learner.options.evaluate_every
        self._returns: list[float] = []

    def _on_training_start(self) -> None:
        self._see(self._raw(self._learner.model._last_obs))

    def _on_step(self) -> bool:
        self._see(self._raw(self.locals["new_obs"]))
        for info in self.locals["infos"]:
            if "episode" in info:
                self._returns.append(float(info["episode"]["r"]))
        self._learner.progress.steps = self.num_timesteps
        if self.num_timesteps >= self._next:
            self._next += self._learner.options.evaluate_every
            self.evaluate()
        return True

    def _raw(self, observations: Any) -> Any:
        normaliser = self._learner.normaliser
        return observations if normaliser is None else normaliser.get_original_obs()

    def _see(self, observations: Any) -> None:
        if observations is not None:
            progress = self._learner.progress
            np.minimum(progress.low, observations.min(axis=0), out=progress.low)
            np.maximum(progress.high, observations.max(axis=0), out=progress.high)

    def evaluate(self) -> None:
        """Play without chance in the actions; the best so far is kept."""
        learner, progress = self._learner, self._learner.progress
        if progress.curve and progress.curve[-1][0] == progress.steps:
            return
        policy = learner.policy(tolerance=np.inf)
        played = play(
            learner.environment.id, acting(policy), learner.options.episodes, EVALUATED_FROM
        )
        mean, spread = float(played.returns.mean()), float(played.returns.std())
        trained = float(np.mean(self._returns[-LAST:])) if self._returns else float("nan")
        progress.curve.append((progress.steps, trained, mean, spread))
        # Of equal ones the later: it has seen more.
        if mean >= progress.best[0]:
            progress.best = (mean, progress.steps)
            progress.weights = copy.deepcopy(policy.state_dict())
        self._tell(progress)


def acting(policy: PolicyNetwork) -> Act:
    """The policy's best action, whatever the state; every action is legal."""

    def act(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode():
            return policy.preferences(torch.from_numpy(observations)).argmax(dim=1).numpy()

    return act


def _rate(options: PolicyOptions) -> float | Callable[[float], float]:
    if options.schedule == "constant":
        return options.learning_rate
    return lambda left: options.learning_rate * max(left, 0.0)


def _ppo(venv: VecEnv, options: PolicyOptions) -> BaseAlgorithm:
    layers = list(options.layers)
    return PPO(
        "MlpPolicy",
        venv,
        learning_rate=_rate(options),
        n_steps=options.rollout,
        batch_size=min(options.batch_size, options.rollout * options.envs),
        n_epochs=options.epochs,
        gamma=options.gamma,
        gae_lambda=options.gae_lambda,
        clip_range=options.clip,
        ent_coef=options.entropy,
        policy_kwargs={
            "net_arch": {"pi": layers, "vf": layers},
            "activation_fn": _ACTIVATIONS[options.activation],
        },
        seed=options.seed,
        device="cpu",
    )


def _dqn(venv: VecEnv, options: PolicyOptions) -> BaseAlgorithm:
    return DQN(
        "MlpPolicy",
        venv,
        learning_rate=_rate(options),
        buffer_size=options.buffer,
        learning_starts=options.warmup,
        batch_size=options.batch_size,
        gamma=options.gamma,
        train_freq=max(1, options.train_every // options.envs),
        gradient_steps=options.updates,
        target_update_interval=options.target_every,
        exploration_fraction=options.exploration,
        exploration_final_eps=options.exploration_end,
        policy_kwargs={
            "net_arch": list(options.layers),
            "activation_fn": _ACTIVATIONS[options.activation],
        },
        seed=options.seed,
        device="cpu",
    )
