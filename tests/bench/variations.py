"""Draws what training sees of a picture: each variation of the same digits, and of a photograph.

python tests/bench/variations.py     # writes training/pictures/variations.png
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from skimage import data as photographs
from torch import Tensor

from service.protocol.media import encode_png
from training.augment import Variation, variation_of
from training.data import digits
from training.data.pictures import decoded, square

PICTURE = Path(__file__).parents[2] / "training" / "pictures" / "variations.png"
COLUMNS = 7
#: Side of what the network sees, in pixels; the pictures have a margin of 4 around it.
SIZE = 64


def pictures() -> tuple[Tensor, Tensor]:
    """A digit and a cat, (1, 3, 72, 72) each."""
    media = square(SIZE + 8, "RGB")
    digit = digits.png(digits.load_digits().images[5])
    cat = encode_png(photographs.chelsea()[:, 75:375].transpose(2, 0, 1))
    return tuple(torch.from_numpy(decoded(body, media)) for body in (digit, cat))  # type: ignore[return-value]


def main() -> None:
    """Draw and write."""
    torch.manual_seed(0)
    figure = Figure(figsize=(6.6, 7.6), dpi=64, layout="constrained")
    FigureCanvasAgg(figure)
    digit, cat = pictures()
    rows = [(name, one) for name in get_args(Variation) for one in (digit, cat)]
    axes = figure.subplots(len(rows), COLUMNS)
    for line, (name, one) in zip(axes, rows, strict=True):
        varied = variation_of(name, SIZE)(one.repeat(COLUMNS, 1, 1, 1))
        for axis, picture in zip(line, varied, strict=True):
            pixels = picture.clamp(0, 255).to(torch.uint8).numpy()
            axis.imshow(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            axis.set(xticks=[], yticks=[])
        if one is digit:
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=13)
    body = io.BytesIO()
    figure.savefig(body, format="png", metadata={"Software": None})
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(body.getvalue())


if __name__ == "__main__":
    main()
