"""Which sensors moved, by what a detector of steps answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[Any]]


def moved(outputs: Outputs) -> NDArray[np.float32] | None:
    """Evidence against each sensor of windows where the score is of how far sensors moved: (n, C).

    Its errors would name another: a window may be reconstructed well after a step.

    Args:
        outputs: of a graph by name; `shift` (n, C) is how far each sensor has moved, in units of
            what is usual.

    Returns:
        Its squares; None where the graph gives none.
    """
    shift = outputs.get("shift")
    return None if shift is None else np.square(shift, dtype=np.float32)
