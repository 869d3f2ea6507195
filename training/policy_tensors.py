"""What a policy's manifest says of its states and actions, and the tensors that it takes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.policy import PolicyNetwork
from service.manifest import Policy, Tensor
from service.policy import (
    ACTION_NUMBER,
    LEGAL,
    NOISE,
    OBSERVATION,
    OUTSIDE,
    OUTSIDE_FEATURE,
    PREFERENCE,
    SAFE,
    StateFeature,
)
from training.environments import Environment

Preference = Literal["q-value", "log-probability"]


def policy_of(
    environment: Environment,
    network: PolicyNetwork,
    preference: Preference,
    states: NDArray[np.float32],
) -> Policy:
    """What the manifest says of states and actions."""
    named = environment.named
    low, high = network.low.numpy(), network.high.numpy()
    features = []
    for at, name in enumerate(named.features):
        least, most = float(low[at]), float(high[at])
        # A bound that the environment itself does not keep is none.
        bounds = environment.low[at], environment.high[at]
        features.append(
            StateFeature(
                name=name,
                unit=named.units[at] or None,
                low=bounds[0] if np.isfinite(bounds[0]) and bounds[0] <= least else None,
                high=bounds[1] if np.isfinite(bounds[1]) and bounds[1] >= most else None,
                trained_low=least,
                trained_high=most,
                whole=bool((states[:, at] == np.rint(states[:, at])).all()),
            )
        )
    return Policy(
        environment=environment.id,
        features=tuple(features),
        actions=named.actions,
        default=named.default,
        tolerance=network.tolerance,
        preference=preference,
    )


def inputs_of(policy: Policy) -> tuple[Tensor, ...]:
    """What callers send: the state, and if they like the legal actions and noise."""
    count = len(policy.actions)
    return (
        Tensor(
            name=OBSERVATION,
            datatype="FP32",
            shape=(-1, len(policy.features)),
            features=tuple(one.name for one in policy.features),
        ),
        Tensor(name=LEGAL, datatype="BOOL", shape=(-1, count), features=policy.actions),
        Tensor(name=NOISE, datatype="FP32", shape=(-1, count), features=policy.actions),
    )


def outputs_of(policy: Policy) -> tuple[Tensor, ...]:
    """What the graph answers."""
    unit = "return" if policy.preference == "q-value" else "nat"
    return (
        Tensor(
            name=PREFERENCE,
            datatype="FP32",
            shape=(-1, len(policy.actions)),
            unit=unit,
            features=policy.actions,
        ),
        Tensor(name=ACTION_NUMBER, datatype="INT64", shape=(-1,)),
        Tensor(name=OUTSIDE, datatype="FP32", shape=(-1,), unit="width of the trained range"),
        Tensor(name=OUTSIDE_FEATURE, datatype="INT64", shape=(-1,)),
        Tensor(name=SAFE, datatype="BOOL", shape=(-1,)),
    )


def asked(states: NDArray[np.float32], actions: int) -> dict[str, NDArray[Any]]:
    """States as the graph takes them, all actions legal and without noise."""
    shape = (len(states), actions)
    return {
        OBSERVATION: states, LEGAL: np.ones(shape, np.bool_), NOISE: np.zeros(shape, np.float32)
    }  # fmt: skip
