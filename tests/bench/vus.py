"""VUS-PR as the TSB-AD package computes it: the volume under precision over recall.

Like the area under that curve, but labels are widened by every length up to a window, so that an
alarm a little before or after is not wrong altogether. The package says that it needs NumPy below 2
and a dozen others; its evaluation loads NumPy and scikit-learn alone and runs with NumPy 2, so it
has an environment of its own, where it is installed without the rest.
Source: Paparrizos et al. 2022, "Volume under the surface", VLDB 15(11); Liu and Paparrizos 2024,
"The elephant in the room: towards a reliable time-series anomaly detection benchmark".
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.venvs import python_with

PACKAGE = "tsb-ad==1.5"
#: Rows by which labels are widened at most; the package's own default.
WINDOW = 100
_PROGRAM = """
import json, sys
import numpy as np
from TSB_AD.evaluation.basic_metrics import generate_curve
held = np.load(sys.argv[1])
print(json.dumps([
    float(generate_curve(held[f"labels{at}"], held[f"scores{at}"], int(sys.argv[2]))[-1])
    for at in range(len(held) // 2)
]))
"""


def vus_pr(
    scores: Sequence[NDArray[Any]], labels: Sequence[NDArray[np.bool_]], window: int = WINDOW
) -> list[float]:
    """VUS-PR of each series, 0 to 1.

    Args:
        scores: (T,) of each, higher = more anomalous.
        labels: (T,) of each, with rows of both kinds.
        window: rows.

    Raises:
        NotInstalled: the package could not be installed.
    """
    needs = tuple(f"{name}=={version(name)}" for name in ("numpy", "scikit-learn"))
    python = python_with("tsb-ad", needs, bare=(PACKAGE,))
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "series.npz"
        arrays = {f"scores{at}": np.asarray(one, np.float64) for at, one in enumerate(scores)}
        arrays |= {f"labels{at}": np.asarray(one, np.int64) for at, one in enumerate(labels)}
        np.savez(held, **arrays)  # type: ignore[arg-type]
        done = subprocess.run(
            [python, "-c", _PROGRAM, held, str(window)], capture_output=True, text=True, check=True
        )
    found: list[float] = json.loads(done.stdout)
    return found
