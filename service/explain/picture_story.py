"""The report of a picture."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.render import PIXEL_ART, draw_overlay, thumbnail, to_pil
from service.explain.story import REASONS, Figure, Story, higher, reason

_ROWS, _COLUMNS = ("upper", "", "lower"), ("left", "centre", "right")
_DIGESTS = {
    "image": "the picture, uint8 (C, H, W)",
    "segments": "the segments, int32 (H, W)",
    "masks": "which segment each sample showed, uint8 (N, S)",
    "background": "what stood in place of hidden segments, uint8 (C, H, W)",
    "scores": "what the model answered, (N, K), in its own float type",
    "rng_state": "the random generator after the draws, 625 uint32",
}
EVIDENCE = Markup(
    'Evidence:<span class="key for"></span>for<span class="key against"></span>against. '
    "The deeper the colour, the stronger. Numbers are ranks."
)


def picture_story(
    image: NDArray[np.uint8], explanation: ImageExplanation, one: LabelExplanation
) -> Story:
    """Tell of a picture (C, H, W).

    Raises:
        Conflict: the explanation is of a picture of another size.
    """
    art = min(image.shape[1:]) < PIXEL_ART
    overlay = draw_overlay(image, explanation, one)
    shown = thumbnail(image, 480) if max(image.shape[1:]) < 480 else to_pil(image)
    size = f"{image.shape[2]} x {image.shape[1]} pixels, {_channels(image.shape[0])}"
    return Story(
        noun="segment",
        plural="segments",
        input="pictures",
        figures=(
            Figure(f"Input: {size}, as the model saw it.", shown, pixelated=art),
            Figure(EVIDENCE, overlay, pixelated=art),
        ),
        names=tuple(f"{position(explanation.segments, at)}, #{at}" for at, _ in one.weights),
        reasons=tuple(reasons(explanation, one)),
        weighs="showing the first segment goes with a score "
        f"{higher(one.weights[0][1])} than hiding it" if one.weights else "",
        upstream=Markup(
            "With the segments, the <code>lime</code> package itself gives the same weights: "
            "<code>LimeImageExplainer(random_state={})</code>, with a "
            "<code>segmentation_fn</code> that returns them."
        ).format(explanation.seed),
        digests=_DIGESTS,
    )  # fmt: skip


def reasons(explanation: ImageExplanation, one: LabelExplanation) -> list[str]:
    """The strongest segments in words, at most five, the strongest first."""
    return [
        reason(f"Segment {segment} in the {position(explanation.segments, segment)}", one, weight)
        for segment, weight in one.weights[:REASONS]
        if weight != 0
    ]


def position(segments: NDArray[np.int32], segment: int) -> str:
    """Where a segment's centre lies, by thirds: "upper left", "middle right", "centre"."""
    rows, columns = np.nonzero(segments == segment)
    height, width = segments.shape
    row = _ROWS[min(2, int((rows.mean() + 0.5) * 3 / height))]
    column = _COLUMNS[min(2, int((columns.mean() + 0.5) * 3 / width))]
    if not row:
        return "centre" if column == "centre" else f"middle {column}"
    return f"{row} {column}"


def _channels(count: int) -> str:
    return {1: "grey", 3: "colour"}.get(count, f"{count} channels, shown as their mean")
