"""A small folder of pictures that anything can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def bars(root: Path, count: int = 20, side: int = 40) -> Path:
    """`lying` and `standing`: a bright bar at a random place on dark noise, RGB PNG files.

    Args:
        root: created; gets a subfolder for each class.
        count: pictures a class.
        side: of each, in pixels.
    """
    random = np.random.default_rng(0)
    for label in ("lying", "standing"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            picture = random.integers(0, 80, (side, side, 3)).astype(np.uint8)
            at = int(random.integers(6, side - 12))
            picture[at : at + 6] = (250, 200, 40)
            if label == "standing":
                picture = picture.transpose(1, 0, 2)
            Image.fromarray(picture).save(root / label / f"{number:03}.png")
    return root
