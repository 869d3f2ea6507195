"""What a policy's numbers mean: a part of the manifest of models that act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from service.media import Part

if TYPE_CHECKING:
    from service.tensors import Tensor

#: Names of a policy's inputs, the state first, and of the outputs of its graph.
OBSERVATION, LEGAL, NOISE = "observation", "legal", "noise"
PREFERENCE, ACTION_NUMBER = "preference", "action_number"
OUTSIDE, OUTSIDE_FEATURE, SAFE = "outside", "outside_feature_number", "safe_default"


class StateFeature(Part):
    """One number of a state.

    `low` and `high` bound what it can be at all, inclusive; None = it can be anything. Between
    `trained_low` and `trained_high` lies what training saw of it. All are in `unit`. `whole` is
    true where training saw whole numbers alone: a switch, a level, a count.
    """

    name: str = Field(min_length=1)
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    trained_low: float
    trained_high: float
    whole: bool = False

    @model_validator(mode="after")
    def _bounds_fit(self) -> StateFeature:
        low, high = self.trained_low, self.trained_high
        if low > high or (self.low is not None and low < self.low) or (
            self.high is not None and high > self.high
        ):  # fmt: skip
            raise ValueError(
                f"feature '{self.name}': training saw {low:g} to {high:g}, which is not within "
                f"{self.low} to {self.high}"
            )
        return self


class Policy(Part):
    """How states become actions.

    A state further than `tolerance` outside what training saw, in widths of the range of the
    feature that lies furthest, gets the action `default` where that is legal. `preference` says
    what the first output holds: `q-value`, the return that is expected of each action, or
    `log-probability`, how likely each is.
    """

    environment: str
    features: tuple[StateFeature, ...] = Field(min_length=1)
    actions: tuple[str, ...] = Field(min_length=2)
    default: str
    tolerance: float = Field(default=0.0, ge=0)
    preference: Literal["q-value", "log-probability"]

    def check(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Refuse tensors that are no policy's, with ValueError."""
        width, count = len(self.features), len(self.actions)
        if len(set(self.actions)) != count or self.default not in self.actions:
            raise ValueError(
                f"actions must differ and the default be one of them, got {self.actions} and "
                f"'{self.default}'"
            )
        wanted = [
            (OBSERVATION, "FP32", (-1, width)), (LEGAL, "BOOL", (-1, count)),
            (NOISE, "FP32", (-1, count)), (PREFERENCE, "FP32", (-1, count)),
            (ACTION_NUMBER, "INT64", (-1,)), (OUTSIDE, "FP32", (-1,)),
            (OUTSIDE_FEATURE, "INT64", (-1,)), (SAFE, "BOOL", (-1,)),
        ]  # fmt: skip
        got = [(one.name, str(one.datatype), one.shape) for one in (*inputs, *outputs)]
        if got != wanted:
            raise ValueError(f"a policy has the tensors {wanted}, but these are {got}")
        named = (inputs[0].features, inputs[1].features, outputs[0].features)
        if named != (tuple(one.name for one in self.features), self.actions, self.actions):
            raise ValueError("names of features and actions are not those of the tensors")
