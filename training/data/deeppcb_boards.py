"""DeepPCB as a detector sees it: whole templates to learn from, boards with defects to find.

See `deeppcb` for the source. The template of a tested board is not shown to the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.data import deeppcb
from training.data.one_class import OneClass
from training.data.pictures import SPLIT_SEED, digest_of

#: Templates of `trainval.txt` that are held back, and that calibrate, as shares.
HELD, CALIBRATED = 0.05, 0.2


def load(root: Path, console: Console, most: int = 0) -> OneClass:
    """Templates of `trainval.txt` without anomalies; pairs of `test.txt`, boards as anomalies.

    A board and its template are of one stretch of copper, so a pair of the test part is a normal
    picture and an anomaly that differ in little but the defects.

    Args:
        root: the folder with the two lists.
        console: for the progress.
        most: pairs of the test part, spread over the list; 0 = all of them.

    Raises:
        BadPictures: the folder is not such a data set, or a file in it is broken.
    """
    digests: list[tuple[str, str]] = []
    names = deeppcb.listed(root, "trainval.txt")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
    bounds = np.cumsum([round(HELD * len(names)), round(CALIBRATED * len(names))])
    held, calibration, train = (
        _templates(root, [names[at] for at in np.sort(some)], digests, console)
        for some in np.split(order, bounds)
    )
    tested = deeppcb.listed(root, "test.txt")
    if most and most < len(tested):
        tested = [tested[at] for at in np.linspace(0, len(tested) - 1, most).astype(int)]
    templates = _templates(root, tested, digests, console)
    boards = np.stack([deeppcb.board(root, f"{one}_test.png", digests) for one in tested])
    regions = np.zeros((2 * len(tested), *boards.shape[1:]), bool)
    for row, one in enumerate(tested, len(tested)):
        for left, top, right, bottom, _ in deeppcb.boxes(root, f"{one}.txt", digests):
            regions[row, top:bottom, left:right] = True
    return OneClass(
        name=f"{deeppcb.NAME}, templates are normal",
        sha256=digest_of(digests),
        licence=deeppcb.LICENCE,
        train=train,
        held=held,
        calibration=calibration,
        test=np.concatenate([templates, boards[:, np.newaxis]]),
        anomalous=np.arange(2 * len(tested)) >= len(tested),
        split=f"by board: templates of trainval.txt ({HELD:.0%} held, {CALIBRATED:.0%} "
        f"calibration); of test.txt {len(tested)} templates and their boards",
        media=deeppcb.BOARD,
        shown=[f"{one}, template" for one in tested] + [f"{one}, board" for one in tested],
        regions=regions,
    )


def _templates(
    root: Path, names: Sequence[str], digests: list[tuple[str, str]], console: Console
) -> NDArray[np.uint8]:
    """(n, 1, 640, 640)."""
    shown = track(names, "reading templates", console=console, disable=not console.is_terminal)
    templates = np.stack([deeppcb.board(root, f"{one}_temp.png", digests) for one in shown])
    return templates[:, np.newaxis]
