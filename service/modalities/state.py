"""States of a policy: a table's row, and what would have to change for another action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.counterfactual import counterfactuals
from service.explain.evidence import NativeEvidence
from service.explain.parameters import ExplainParameters
from service.inference.states import States
from service.modalities.modality import ExplainedModel
from service.modalities.table import RowExplainer
from service.policy import ACTION_NUMBER, OBSERVATION, PREFERENCE


class StateExplainer(RowExplainer):
    """Explains why an action was preferred in a state; see `RowExplainer`.

    What is explained, unless a target is named, is the preference of the action that was taken,
    which mask, noise or safe default may have made another than the one preferred most. The
    background are states that the policy visited.
    """

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        if len(inputs) < len(model.manifest.inputs):
            # Completed once: what is perturbed need not be a state that there can be.
            inputs = States(model.manifest).admit(inputs)
        if parameters.target is None and parameters.output in (None, PREFERENCE):
            one = {name: batch[row : row + 1] for name, batch in inputs.items()}
            taken = int(model.predict(one)[ACTION_NUMBER][0])
            parameters = parameters.model_copy(update={"target": taken})
        super().__init__(model, inputs, row, parameters)

    def evidence(self) -> tuple[NativeEvidence, ...]:
        """What would have to change, besides what the model itself shows."""
        policy = self.model.manifest.policy
        assert policy is not None  # a model that acts has one

        def decide(states: NDArray[np.float32]) -> NDArray[np.int64]:
            feed = {
                name: states if name == OBSERVATION else np.repeat(one, len(states), axis=0)
                for name, one in self.row.items()
            }
            taken: NDArray[np.int64] = self.model.predict(feed)[ACTION_NUMBER]
            return taken

        state = self.row[OBSERVATION][0].astype(np.float32)
        return (*super().evidence(), counterfactuals(state, policy, decide))
