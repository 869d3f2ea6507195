"""An answer of a detector as a picture: what the route and the evaluation page both show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from service.explain.heat_map import Judged, draw_error_signals, draw_heat_map
from service.manifest import Manifest


def drawn_error(
    manifest: Manifest, inputs: Mapping[str, NDArray[Any]], answer: Mapping[str, NDArray[Any]]
) -> bytes:
    """The first row under its error, as PNG: a picture's heat map, or a window's shaded signals.

    Args:
        manifest: of the detector.
        inputs: by name, as the graph took them.
        answer: of its task, by name.
    """
    error, subject = answer["error"][0], inputs[manifest.inputs[0].name][0]
    judged = Judged(
        verdict=str(answer["verdict"][0]),
        score=float(answer["score"][0, 0]),
        threshold=float(answer["threshold"][0]),
        p_value=float(answer["p_value"][0]),
        budget=float(answer["budget"][0]),
        contributors=list(
            zip(answer["contributors"][0], answer["contributions"][0].tolist(), strict=True)
        ),
    )
    if manifest.images is not None:
        return draw_heat_map(subject, error, judged)
    if manifest.sequences is not None:
        steps = int(inputs[manifest.sequences.length][0])
        error, subject = error[:steps], subject[:steps]
    names = manifest.inputs[0].features or [f"channel {at}" for at in range(error.shape[1])]
    return draw_error_signals(subject, error, names, judged)
