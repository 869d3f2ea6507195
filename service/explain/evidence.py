"""What the model itself shows of its answer, beside LIME and named as such.

A reconstruction-error map says where an autoencoder could not rebuild its input; an attention
matrix which steps of the input a decoder looked at. Neither is an estimate: both are outputs
of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import ExplanationError
from service.explain.attention import draw_attention
from service.explain.explanation import sha256
from service.manifest import Evidence

#: Evidence that an explainer adds by asking the model; manifests do not declare it.
Kind = Evidence | Literal["counterfactual"]
CAPTIONS: dict[Kind, str] = {
    "reconstruction-error": "Reconstruction error, output “{}” of the model itself: where it could "
    "not rebuild this input.",
    "attention": "Attention, output “{}” of the model itself: how much each output step looked at "
    "each input step.",
    "counterfactual": "What would have to change: the nearest other value of each feature alone, "
    "among those that training saw, at which the model takes another action.",
}


@dataclass(frozen=True, slots=True)
class NativeEvidence:
    """One output of the model that is evidence for its answer.

    `values` is an error in the input's own shape, (C, H, W), (H, W), (T, C) or (D,), or an
    attention matrix (output steps, input steps). `rows` and `columns` are what its steps are,
    where they are tokens of a text.
    """

    output: str
    kind: Kind
    values: NDArray[Any]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What it is, by shape and digest: the values are a payload of the record."""
        tokens = {"rows": list(self.rows), "columns": list(self.columns)} if self.rows else {}
        return {
            "output": self.output,
            "kind": self.kind,
            "shape": list(self.values.shape),
            "sha256": sha256(self.values),
            **tokens,
        }

    @property
    def payload(self) -> str:
        """Name of the record's payload."""
        return payload_of(self.output)

    @property
    def caption(self) -> str:
        """What the drawing shows, in words."""
        return CAPTIONS[self.kind].format(self.output)


def payload_of(output: str) -> str:
    """Name of the record's payload that holds an output's values."""
    return f"evidence {output}"


def native_evidence(
    kinds: Mapping[str, Evidence], outputs: Mapping[str, NDArray[Any]]
) -> tuple[NativeEvidence, ...]:
    """The evidence among the outputs of one row.

    Args:
        kinds: as the manifest declares them.
        outputs: of the graph, for a batch of one.

    Raises:
        ExplanationError: such an output has no shape that can be drawn.
    """
    found = []
    for name, kind in kinds.items():
        values = outputs[name][0]
        axes = (2,) if kind == "attention" else (1, 2, 3)
        if values.ndim not in axes or values.size == 0 or values.dtype.kind != "f":
            raise ExplanationError(
                f"output '{name}': its manifest declares it as {kind}, but for this row it is "
                f"{values.dtype} of shape {values.shape}. Release the model again without."
            )
        found.append(NativeEvidence(name, kind, values))
    return tuple(found)


def with_evidence(content: Mapping[str, Any], evidence: Sequence[NativeEvidence]) -> dict[str, Any]:
    """An explanation's JSON and what the model itself shows."""
    return {**content, "evidence": [one.to_json() for one in evidence]}


def draw_evidence(evidence: NativeEvidence, names: Sequence[str] = ()) -> Image.Image:
    """A heat map with its scale, in colours that the colour-blind can tell apart.

    Args:
        evidence: what to draw.
        names: of the columns or channels, for errors of rows and windows.
    """
    from service.explain.figure import WIDTH, blank, literal, picture

    if evidence.rows:
        return draw_attention(evidence.values, evidence.rows, evidence.columns)
    values = np.nan_to_num(evidence.values.astype(np.float64))
    across, down = "", ""
    if evidence.kind == "attention":
        across, down = "input step", "output step"
    elif values.ndim == 3:
        values = values.sum(axis=0)
    elif len(names) == values.shape[-1] or values.ndim == 1:
        # Channels below each other, as the window itself is drawn.
        values = np.atleast_2d(values).T if values.ndim == 2 else values[:, None]
        across = "step" if values.shape[1] > 1 else ""
    height, width = values.shape
    figure = blank(int(min(960, max(260, 140 + WIDTH * 0.8 * min(1.0, height / width)))))
    axes = figure.add_subplot()
    flat = height / width < 0.2 or width / height < 0.2
    image = axes.imshow(
        values, cmap="cividis", aspect="auto" if flat else "equal", interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(down, fontsize=9)
    if len(names) == height and height <= 40:
        axes.set_yticks(range(height), [literal(name, 24) for name in names], fontsize=8)
    if width == 1:
        axes.set_xticks([])
    return picture(figure)
