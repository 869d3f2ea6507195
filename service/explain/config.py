"""What to explain in a picture and how, checked as soon as it is said."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import InvalidParameter
from service.explain.segment import METHODS

MAX_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What to explain and how.

    Args:
        segmentation: one of `segment.METHODS`; "auto" chooses by the picture's size.
        num_samples: perturbed pictures, the untouched one included; 10 to 1,000,000.
        num_features: most segments in the answer, 1 to the number of segments. Up to 6,
            upstream selects them step by step; above, by the size of their weights.
        target: index of the output to explain; None = the `top_labels` highest scores.
        top_labels: how many outputs to explain, highest score first; 1 with a `target`.
        seed: of the masks, 0 to 2³²-1.
        hide_color: 0-255 for hidden segments; None = each segment's mean colour.
        batch_size: pictures a call of the model, >= 1.
        kernel_width: in cosine distance, > 0.
        stop_confidence: end as soon as the order of the strongest five is the one that all
            `num_samples` would give, with this nominal chance, between 0 and 1; 0 = never.
        labels: names of the model's outputs in their order; empty = "output 3".

    Raises:
        InvalidParameter: a value is outside its range.
    """

    segmentation: str = "auto"
    num_samples: int = 1000
    num_features: int = 10
    target: int | None = None
    top_labels: int = 1
    seed: int = 0
    hide_color: int | None = None
    batch_size: int = 64
    kernel_width: float = 0.25
    stop_confidence: float = 0.0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.segmentation not in METHODS:
            raise InvalidParameter(
                f"parameter 'segmentation': got {self.segmentation!r}, "
                f"wanted one of {', '.join(METHODS)}."
            )
        within("num_samples", self.num_samples, 10, MAX_SAMPLES)
        within("num_features", self.num_features, 1, None)
        within("top_labels", self.top_labels, 1, None)
        within("seed", self.seed, 0, 2**32 - 1)
        within("batch_size", self.batch_size, 1, None)
        if self.target is not None:
            within("target", self.target, 0, None)
            within("top_labels", self.top_labels, 1, 1)
        if self.hide_color is not None:
            within("hide_color", self.hide_color, 0, 255)
        if not 0 <= self.stop_confidence < 1:
            raise InvalidParameter(
                f"parameter 'stop_confidence': got {self.stop_confidence}, wanted 0 (never stop "
                "early) to less than 1, 0.85 for instance."
            )
        if not 0 < self.kernel_width < float("inf"):
            raise InvalidParameter(
                f"parameter 'kernel_width': got {self.kernel_width}, wanted more than 0. "
                f"Upstream's value is 0.25."
            )


def within(name: str, value: int, lowest: int, highest: int | None) -> None:
    """Raise InvalidParameter unless `value` is a whole number from `lowest` to `highest`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameter(f"parameter '{name}': got {value!r}, wanted a whole number.")
    if value < lowest or (highest is not None and value > highest):
        wanted = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        raise InvalidParameter(f"parameter '{name}': got {value}, wanted {wanted}.")
