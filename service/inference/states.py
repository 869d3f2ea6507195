"""States that a policy is asked about: what is legal where nobody says, and what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch
from service.manifest import Manifest
from service.policy import LEGAL, NOISE, OBSERVATION

Arrays = Mapping[str, NDArray[Any]]
#: State, mask and noise.
_INPUTS = 3


class States:
    """Completes and checks the inputs of a policy; a `Preparation`.

    Args:
        manifest: of a model with a policy.
    """

    def __init__(self, manifest: Manifest) -> None:
        policy = manifest.policy
        assert policy is not None  # the manifest says so
        self._where = f"{manifest.reference}: input"
        self._features = policy.features
        infinite = float(np.finfo(np.float32).max)
        lows = [-infinite if one.low is None else one.low for one in policy.features]
        highs = [infinite if one.high is None else one.high for one in policy.features]
        self._low = np.array(lows, np.float32)
        self._high = np.array(highs, np.float32)
        count = len(policy.actions)
        #: of a single state, which is what is asked about most
        self._all_legal = np.ones((1, count), np.bool_)
        self._no_noise = np.zeros((1, count), np.float32)

    def admit(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Every action is legal and nothing is left to chance unless it is said.

        Raises:
            TensorMismatch: a feature has a value that it cannot have, or a state has no legal
                action.
        """
        states = inputs[OBSERVATION]
        # Comparisons with NaN are false, so one test refuses it too.
        if not ((states >= self._low) & (states <= self._high)).all():
            self._refuse_value(states)
        legal, noise = inputs.get(LEGAL), inputs.get(NOISE)
        if legal is None:
            legal = self._all_legal.repeat(len(states), axis=0)
        elif not legal.any(axis=1).all():
            row = int(np.argmin(legal.any(axis=1)))
            self._refuse(
                f"'{LEGAL}', row {row}: got no legal action", "at least one",
                "Where nothing may be done there is nothing to ask.",
            )  # fmt: skip
        if noise is None:
            noise = self._no_noise.repeat(len(states), axis=0)
        return {OBSERVATION: states, LEGAL: legal, NOISE: noise}

    def feed(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """As they are, once they are complete; see `Preparation`."""
        return (inputs if len(inputs) == _INPUTS else self.admit(inputs)), {}

    def _refuse_value(self, states: NDArray[Any]) -> NoReturn:
        good = (states >= self._low) & (states <= self._high)
        row, column = (int(at) for at in np.argwhere(~good)[0])
        one = self._features[column]
        low = "anything" if one.low is None else f"{one.low:g}"
        high = "anything" if one.high is None else f"{one.high:g}"
        unit = f" {one.unit}" if one.unit else ""
        wanted = "a finite number" if low == high == "anything" else f"{low} to {high}{unit}"
        self._refuse(
            f"'{OBSERVATION}', row {row}: got {float(states[row, column]):g} for '{one.name}'",
            wanted, "Look at the sensor, and at the unit.",
        )  # fmt: skip

    def _refuse(self, got: str, wanted: str, remedy: str) -> NoReturn:
        raise TensorMismatch(f"{self._where} {got}, wanted {wanted}. {remedy}")
