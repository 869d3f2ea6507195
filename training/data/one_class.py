"""Data for detectors: rows without anomalies to learn from, and rows of both kinds to test on.

Anomaly-free rows are in three parts that never touch: `train` fits the network, `held` chooses
the epoch and how the scores are put together, `calibration` says which score is too high.
Nothing but the test part has anomalies, and nothing is chosen on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.manifest import ImageMedia
from training.data.pictures import SPLIT_SEED, Pictures
from training.options import WrongOption

#: Share of the training rows of classified pictures that is held back.
HELD = 0.15
#: Rows to learn from, and to hold back, at least.
FEWEST, FEWEST_HELD = 16, 4


class BadNormal(GlasslineError):
    """Nothing can be learnt of what is normal from these rows."""


@dataclass(frozen=True, slots=True)
class OneClass:
    """A data set of which one class is known.

    Attributes:
        train, held, calibration: anomaly-free rows, (n, C, H, W) UINT8 or (n, T, C) FP32.
        test: rows of both kinds, or of one.
        anomalous: (t,) which of `test` are anomalies.
        split: how the parts came about, in words.
        media: how pictures are decoded; None of windows.
        channels: names of a window's channels.
        shown: what a person calls each test row.
        regions: (t, H, W) where the anomalies of pictures are; None = nobody knows.
        notes: further facts for the manifest.
    """

    name: str
    sha256: str
    licence: str
    train: NDArray[np.uint8] | NDArray[np.float32]
    held: NDArray[np.uint8] | NDArray[np.float32]
    calibration: NDArray[np.uint8] | NDArray[np.float32]
    test: NDArray[np.uint8] | NDArray[np.float32]
    anomalous: NDArray[np.bool_]
    split: str
    media: ImageMedia | None = None
    channels: tuple[str, ...] = ()
    shown: Sequence[str] = ()
    regions: NDArray[np.bool_] | None = None
    notes: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in {"train": FEWEST, "held": FEWEST_HELD, "calibration": 1}.items():
            got = len(getattr(self, name))
            if got < least:
                raise BadNormal(
                    f"'{self.name}': got {got} anomaly-free rows for the part '{name}', wanted at "
                    f"least {least}. Collect more, or cut shorter windows, closer together: "
                    "--window, --stride."
                )
        if not len(self.test):
            raise BadNormal(f"'{self.name}': no rows are left to test on. Collect more.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return tuple(self.test.shape[1:])

    def described(self) -> dict[str, JsonValue]:
        """What the manifest says of the data."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "licence": self.licence,
            "split": self.split,
            **{f"{part}_rows": len(getattr(self, part))
               for part in ("train", "held", "calibration", "test")},
            "anomalous_test_rows": int(self.anomalous.sum()),
            **self.notes,
        }  # fmt: skip


def of_pictures(pictures: Pictures, normal: str) -> OneClass:
    """One class of classified pictures is normal, all others are anomalies.

    The test part is that of the classifier, all classes of it; the class's validation pictures
    calibrate.

    Args:
        pictures: in three parts.
        normal: a label.

    Raises:
        WrongOption: there is no such label.
        BadNormal: too few pictures are of the class.
    """
    if normal not in pictures.labels:
        raise WrongOption(
            f"--normal: got {normal!r}, wanted one of {', '.join(pictures.labels)}: the class "
            "that there is nothing wrong with."
        )
    label = pictures.labels.index(normal)
    train, validation = (
        part.images[part.labels == label] for part in (pictures.train, pictures.validation)
    )
    fitted, held = _split(len(train), HELD)
    return OneClass(
        name=f"{pictures.name}, '{normal}' is normal",
        sha256=pictures.sha256,
        licence=pictures.licence,
        train=train[fitted],
        held=train[held],
        calibration=validation,
        test=pictures.test.images,
        anomalous=pictures.test.labels != label,
        split=f"{pictures.split}; {HELD:.0%} of the training part held back; the validation "
        "part calibrates",
        media=pictures.media,
        shown=[pictures.labels[at] for at in pictures.test.labels],
        notes={"normal": normal},
    )


def _split(rows: int, share: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to keep and rows to hold back, whatever the training seed is."""
    if rows < 2:
        return np.arange(rows), np.arange(0)
    kept, held = train_test_split(np.arange(rows), test_size=share, random_state=SPLIT_SEED)
    return np.sort(kept), np.sort(held)
