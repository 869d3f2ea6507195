"""What was measured of a released model: the parts of a manifest that report.

Each was found through ONNX Runtime, on the exported graph, when the model was released.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.media import Part


class Parity(Part):
    """How far the exported graph was from the trained module, over `rows` test rows."""

    rows: int = Field(gt=0)
    max_abs_difference: float = Field(ge=0)
    label_flips: int = Field(ge=0)
    tolerance: float = Field(gt=0)


class Randomisation(Part):
    """Whether explanations hang on what the network has learnt.

    Inputs were explained by the trained network and by the same network with random weights;
    `similarity` is the mean rank correlation of the absolute weights, -1 to 1. Near 1 the
    explanations show the input and not the model.
    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """

    inputs: int = Field(gt=0)
    num_samples: int = Field(gt=0)
    seed: int = Field(ge=0)
    similarity: float = Field(ge=-1, le=1)
    passed: bool


class Compression(Part):
    """What a graph in a smaller precision costs and gains beside the same network's in FP32.

    Bytes are those of the files. Rows a second are measured one after the other on one thread of
    one processor, in batches of `batch`. `score` is the metric of that name of each on the same
    test rows.
    """

    metric: str
    score: float
    fp32_score: float
    bytes: int = Field(gt=0)
    fp32_bytes: int = Field(gt=0)
    batch: int = Field(gt=0)
    rows_per_second: float = Field(gt=0)
    fp32_rows_per_second: float = Field(gt=0)


class Interval(Part):
    """Two outputs between which the truth lies at a stated rate.

    They were calibrated on `units` units (engines, runs, rows) that training never saw, each of
    which counts as one whatever its length. Of units exchangeable with those the share of truths
    inside is `level`, on average; with few units it may be off, and the test part's figure says by
    how much it was.
    Source: Lei et al. 2018, arXiv:1604.04173 (split conformal); Dunn, Wasserman and Ramdas 2022,
    arXiv:1809.07441 (units of several rows).
    """

    lower: str
    upper: str
    level: float = Field(gt=0, lt=1)
    method: Literal["split-conformal"] = "split-conformal"
    units: int = Field(gt=0)
    #: half the width on average, by column of the first output, in its unit
    margins: tuple[float, ...]
