"""Pictures of one size side by side."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.explain.legend import PAPER
from service.explain.render import to_pil

#: Pixels between two pictures.
GAP = 2


def contact_sheet(
    pictures: NDArray[np.uint8], columns: int | None = None, scale: int = 1
) -> Image.Image:
    """Lay pictures out row by row, on paper where there is none; one alone is as it is.

    Args:
        pictures: (n, C, H, W), 0 to 255; of other than 1 or 3 channels the grey mean.
        columns: how many stand side by side; None = about as many as below each other.
        scale: whole factor by which each pixel grows.
    """
    count, _, height, width = pictures.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    across, down = width * scale + GAP, height * scale + GAP
    canvas = Image.new("RGB", (columns * across - GAP, rows * down - GAP), PAPER)
    for at, picture in enumerate(pictures):
        drawn = to_pil(picture).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        canvas.paste(drawn, (at % columns * across, at // columns * down))
    return canvas
