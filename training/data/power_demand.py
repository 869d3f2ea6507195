"""Italy's demand for electric power, inside sktime: 1,096 days of 24 hours.

Source: E. Keogh et al. 2006, "Intelligent icons", ICDM, from the demand of 1997; A. Bagnall et
al. 2018, the UCR time series archive, arXiv:1810.07758. Each day is scaled to mean 0 and
deviation 1. Days from October to March have another shape than those from April to September.
"""

from __future__ import annotations

import hashlib

import numpy as np

from training.data.digits import DataMismatch
from training.data.streams import Streams
from training.options import WrongOption

NAME = "power-demand"
LICENCE = "published with the UCR archive, inside sktime; no licence stated"
#: Hours of a day, one a step.
HOURS = 24
#: In the order of the archive's classes 1 and 2.
SEASONS = ("winter", "summer")
#: Of all values, day by day, as FP32, followed by the labels, 0 or 1, as UINT8.
SHA256 = "5698539cae35dc1a4cdaf7e3313e603b2e078bb96b3455227a4e201347973a5c"


def load(normal: str = "winter") -> Streams:
    """Load the days; those of one half of the year are normal, those of the other anomalies.

    Raises:
        WrongOption: there is no such season.
        DataMismatch: the installed sktime carries others.
    """
    from sktime.datasets import load_italy_power_demand

    if normal not in SEASONS:
        raise WrongOption(f"--normal: got {normal!r}, wanted one of {', '.join(SEASONS)}.")
    table, classes = load_italy_power_demand(return_X_y=True)
    days = tuple(np.asarray(day, np.float32)[:, np.newaxis] for day in table.iloc[:, 0])
    labels = np.array([int(one) - 1 for one in classes], np.uint8)
    digest = hashlib.sha256(b"".join(day.tobytes() for day in days) + labels.tobytes()).hexdigest()
    if digest != SHA256:
        raise DataMismatch(
            f"{NAME}: got SHA-256 {digest}, wanted {SHA256}. Install sktime 1.2 from its own wheel."
        )
    return Streams(
        name=f"Italy's power demand by day, '{normal}' is normal",
        sha256=digest,
        licence=LICENCE,
        channels=("demand",),
        series=days,
        anomalous=tuple(np.full(HOURS, SEASONS[one] != normal) for one in labels),
        ids=tuple(f"{SEASONS[one]} day {at}" for at, one in enumerate(labels)),
    )
