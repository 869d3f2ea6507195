"""Acting: from the graph's decision to the action's name, and to why it may be the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.manifest import Manifest
from service.policy import ACTION_NUMBER, OUTSIDE, OUTSIDE_FEATURE


class Actor:
    """The acting task of one model.

    Args:
        manifest: of a model with a policy.
    """

    __slots__ = ("_actions", "_features")

    def __init__(self, manifest: Manifest) -> None:
        policy = manifest.policy
        assert policy is not None  # the manifest says so
        self._actions = np.array(policy.actions, dtype=object)
        #: the last is that of a state which lies outside in no feature
        self._features = np.array([*(one.name for one in policy.features), ""], dtype=object)

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Add names to the graph's outputs.

        Args:
            outputs: the graph's outputs by name.

        Returns:
            The graph's outputs, then `action` (n,) BYTES, the action to take, and
            `outside_feature` (n,) BYTES, the feature that lies furthest outside what training
            saw, empty where none does.
        """
        outside, furthest = outputs[OUTSIDE], outputs[OUTSIDE_FEATURE]
        named = self._features[np.where(outside > 0, furthest, -1)]
        return {
            **outputs,
            "action": self._actions[outputs[ACTION_NUMBER]],
            "outside_feature": named,
        }
