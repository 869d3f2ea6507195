"""Environments by their id: what their numbers are called, and which of them can be exported.

A served policy takes a row of numbers and answers one of a set of actions. Whatever else an
environment may want is refused here, before anything is learnt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import training.envs  # noqa: F401  registers our own
from training.options import WrongOption


@dataclass(frozen=True, slots=True)
class Named:
    """What the numbers of an environment are called.

    Attributes:
        features, units: of the observation, one each; a unit of "" = none.
        actions: by number.
        default: the action that is safe where nothing is known.
    """

    features: tuple[str, ...]
    units: tuple[str, ...]
    actions: tuple[str, ...]
    default: str


#: Of gymnasium's own environments; others say it in their `metadata`, or are numbered.
KNOWN = {
    "CartPole-v1": Named(
        ("cart position", "cart velocity", "pole angle", "pole tip velocity"),
        ("m", "m/s", "rad", "rad/s"),
        ("push left", "push right"),
        "push left",
    ),
    "Acrobot-v1": Named(
        ("cos of joint 1", "sin of joint 1", "cos of joint 2", "sin of joint 2",
         "velocity of joint 1", "velocity of joint 2"),
        ("", "", "", "", "rad/s", "rad/s"),
        ("torque -1", "no torque", "torque +1"),
        "no torque",
    ),
    "MountainCar-v0": Named(
        ("position", "velocity"), ("", ""),
        ("push left", "no push", "push right"), "no push",
    ),
    "LunarLander-v3": Named(
        ("x", "y", "x velocity", "y velocity", "angle", "angular velocity", "left leg down",
         "right leg down"),
        ("", "", "", "", "rad", "", "", ""),
        ("nothing", "left engine", "main engine", "right engine"),
        "nothing",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that a policy can be exported for.

    Attributes:
        id: as gymnasium has it, with its version.
        low, high: (D,) what each feature can be, -inf and inf where it can be anything.
        horizon: steps after which an episode is cut; None = never.
    """

    id: str
    named: Named
    low: tuple[float, ...]
    high: tuple[float, ...]
    horizon: int | None


def make(identifier: str, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """One environment.

    Raises:
        WrongOption: gymnasium does not know it, or cannot make it.
    """
    # Pictures are drawn into memory; without this pygame looks for a screen.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    try:
        # Not every environment takes the argument.
        given: dict[str, Any] = {"render_mode": render_mode} if render_mode else {}
        # gymnasium would look at every step; `check_env` is for whoever writes an environment.
        return gymnasium.make(identifier, disable_env_checker=True, **given)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        said = " ".join(str(error).split())
        raise WrongOption(
            f"--env: got {identifier!r}, which cannot be made: {said:.300}. Give an id that "
            "gymnasium knows, such as CartPole-v1 or ToolWear-v0, or module:Id of your own."
        ) from None


def describe(
    identifier: str,
    features: Sequence[str] = (),
    actions: Sequence[str] = (),
    default: str = "",
) -> Environment:
    """Look at an environment, and refuse what cannot be exported.

    Args:
        identifier: of gymnasium.
        features, actions, default: names in place of those that are known.

    Raises:
        WrongOption: there is none, or a policy for it cannot be exported, or names do not fit.
    """
    environment = make(identifier)
    try:
        low, high, count = _checked(identifier, environment)
        named = _named(identifier, environment, len(low), count)
    finally:
        environment.close()
    if features:
        _same_number("--features", features, len(low))
        named = Named(tuple(features), ("",) * len(low), named.actions, named.default)
    if actions:
        _same_number("--actions", actions, count)
        named = Named(named.features, named.units, tuple(actions), actions[0])
    default = default or named.default
    if default not in named.actions:
        raise WrongOption(
            f"--default-action: got {default!r}, wanted one of {', '.join(named.actions)}."
        )
    named = Named(named.features, named.units, named.actions, default)
    horizon = environment.spec.max_episode_steps if environment.spec else None
    return Environment(identifier, named, low, high, horizon)


def _checked(
    identifier: str, environment: gymnasium.Env[Any, Any]
) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Bounds of the observation and the number of actions."""
    seen, done = environment.observation_space, environment.action_space
    if not isinstance(seen, spaces.Box) or len(seen.shape) != 1 or not seen.shape[0]:
        raise WrongOption(
            f"--env: {identifier} observes {_shown(seen)}, wanted a Box of one axis: a served "
            "policy takes a row of numbers. Wrap it, by gymnasium's FlattenObservation for "
            "instance, and register that."
        )
    if not isinstance(done, spaces.Discrete) or done.n < 2:
        raise WrongOption(
            f"--env: {identifier} acts by {_shown(done)}, wanted Discrete of 2 or more: a served "
            "policy answers one of a set of actions, and dqn and ppo here learn no other. Wrap it "
            "so that it takes numbered actions (gymnasium's TransformAction), and register that."
        )
    if int(done.start) != 0:
        raise WrongOption(f"--env: {identifier} counts its actions from {done.start}, wanted 0.")
    low = tuple(_bound(one) for one in seen.low.tolist())
    high = tuple(_bound(one) for one in seen.high.tolist())
    return low, high, int(done.n)


def _bound(value: float) -> float:
    """A bound, or infinity: some spaces write it as the largest float there is."""
    return value if abs(value) < np.finfo(np.float32).max / 2 else float(np.sign(value) * np.inf)


def _named(identifier: str, environment: gymnasium.Env[Any, Any], width: int, count: int) -> Named:
    known = KNOWN.get(identifier)
    said = environment.unwrapped.metadata
    features = tuple(said.get("features") or (known.features if known else ()))
    actions = tuple(said.get("actions") or (known.actions if known else ()))
    units = tuple(said.get("units") or (known.units if known else ()))
    if len(features) != width:
        features, units = tuple(f"observation {at}" for at in range(width)), ()
    if len(actions) != count:
        actions, known = tuple(f"action {at}" for at in range(count)), None
    default = said.get("default_action") or (known.default if known else actions[0])
    return Named(features, units if len(units) == width else ("",) * width, actions, default)


def _same_number(flag: str, names: Sequence[str], wanted: int) -> None:
    if len(names) != wanted or len(set(names)) != wanted or not all(names):
        raise WrongOption(f"{flag}: got {', '.join(names)}, wanted {wanted} names that differ.")


def _shown(space: spaces.Space[Any]) -> str:
    return f"{space}".replace("\n", " ")[:160]
