"""What to explain in a table row, a text or a sequence, checked as soon as it is said."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import InvalidParameter
from service.explain.config import MAX_SAMPLES, within
from service.explain.surrogate import SELECTIONS

#: Upstream's own default. Upstream chooses its method by it even where there are fewer.
NUM_FEATURES = 10


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """What all of these explanations can be asked.

    Args:
        num_samples: perturbed inputs, the untouched one included; 10 to 1,000,000.
        num_features: most features in the answer, 1 to as many as there are; None =
            `usual_features`, or all where there are fewer. With feature_selection "none" it
            must be None.
        usual_features: see `num_features`.
        target: index of the output to explain; None = the `top_labels` highest scores. A
            model with one output, such as a regression, has target 0.
        top_labels: how many outputs to explain, highest score first; 1 with a `target`.
        seed: of the samples, 0 to 2³²-1.
        batch_size: inputs a call of the model, >= 1.
        kernel_width: in the unit of the modality's distance, > 0; None = upstream's.
        feature_selection: one of `surrogate.SELECTIONS`.
        labels: names of the model's outputs in their order; empty = "output 3".

    Raises:
        InvalidParameter: a value is outside its range.
    """

    num_samples: int = 5000
    num_features: int | None = None
    target: int | None = None
    top_labels: int = 1
    seed: int = 0
    batch_size: int = 512
    kernel_width: float | None = None
    feature_selection: str = "auto"
    labels: tuple[str, ...] = ()
    usual_features: int = NUM_FEATURES

    def __post_init__(self) -> None:
        within("num_samples", self.num_samples, 10, MAX_SAMPLES)
        within("top_labels", self.top_labels, 1, None)
        within("seed", self.seed, 0, 2**32 - 1)
        within("usual_features", self.usual_features, 1, None)
        within("batch_size", self.batch_size, 1, None)
        choice("feature_selection", self.feature_selection, SELECTIONS)
        if self.num_features is not None:
            within("num_features", self.num_features, 1, None)
            if self.feature_selection == "none":
                raise InvalidParameter(
                    f"parameter 'num_features': got {self.num_features}, but feature_selection "
                    "'none' keeps every feature. Leave num_features out."
                )
        if self.target is not None:
            within("target", self.target, 0, None)
            within("top_labels", self.top_labels, 1, 1)
        if self.kernel_width is not None and not 0 < self.kernel_width < float("inf"):
            raise InvalidParameter(
                f"parameter 'kernel_width': got {self.kernel_width}, wanted more than 0. "
                "Leave it out for upstream's."
            )

    def features_of(self, count: int, what: str) -> int:
        """How many features the answer holds where there are `count` of `what`.

        Raises:
            InvalidParameter: more were asked for than there are.
        """
        if self.feature_selection == "none":
            return count
        if self.num_features is None:
            return self.usual_features
        if self.num_features > count:
            raise InvalidParameter(
                f"parameter 'num_features': got {self.num_features}, but there are {count} "
                f"{what}. Ask for at most {count}."
            )
        return self.num_features


def choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise InvalidParameter unless `value` is one of those allowed."""
    if value not in allowed:
        raise InvalidParameter(
            f"parameter '{name}': got {value!r}, wanted one of {', '.join(allowed)}."
        )
