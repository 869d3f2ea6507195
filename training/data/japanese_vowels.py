"""Nine speakers saying two vowels, inside sktime: 640 utterances of 7 to 29 steps, 12 channels.

Source: M. Kudo, J. Toyama and M. Shimbo 1999, "Multidimensional curve classification using
passing-through regions", Pattern Recognition Letters 20; UCI, doi 10.24432/C5NS47. The channels
are coefficients of a linear prediction of the sound; the split into 270 and 370 is the source's.
"""

from __future__ import annotations

import hashlib

import numpy as np

from training.data.digits import DataMismatch
from training.data.sequences import Sequences

NAME = "japanese-vowels"
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository, doi 10.24432/C5NS47), inside sktime"
CHANNELS = tuple(f"lpc{number}" for number in range(1, 13))
#: Of all values, utterance by utterance, row-major FP32, followed by the labels as UINT8.
SHA256 = "76e7d77aa6321a6bc11945b2342308f0df53cd4899b099a94a2dff287cbdf559"


def load() -> Sequences:
    """Load the utterances, the 270 for training first.

    Raises:
        DataMismatch: the installed sktime carries others.
    """
    from sktime.datasets import load_japanese_vowels

    series, labels, tested = [], [], []
    for part in ("train", "test"):
        table, speakers = load_japanese_vowels(split=part, return_X_y=True)
        for row, speaker in zip(table.itertuples(index=False), speakers, strict=True):
            series.append(np.stack([np.asarray(cell) for cell in row], axis=1).astype(np.float32))
            labels.append(int(speaker) - 1)
            tested.append(part == "test")
    body = b"".join(one.tobytes() for one in series) + np.array(labels, np.uint8).tobytes()
    digest = hashlib.sha256(body).hexdigest()
    if digest != SHA256:
        raise DataMismatch(
            f"{NAME}: got SHA-256 {digest}, wanted {SHA256}. Install sktime 1.2 from its own wheel."
        )
    return Sequences(
        name=NAME,
        sha256=digest,
        licence=LICENCE,
        task="classify",
        channels=CHANNELS,
        series=tuple(series),
        truth=tuple(
            np.full(len(one), label, np.int64) for one, label in zip(series, labels, strict=True)
        ),
        ids=tuple(str(number) for number in range(len(series))),
        labels=tuple(f"speaker {number}" for number in range(1, 10)),
        tested=np.array(tested),
    )
