"""How real generated pictures are, and how new: figures and the pictures to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.explain.sheet import contact_sheet
from training.evaluation_pictures import blank, png
from training.feature_space import Space
from training.frechet import Likeness, likeness

#: Pictures that are shown, and pairs of a picture and the nearest that training has seen.
SHOWN, PAIRS = 64, 16


class Nearest(NamedTuple):
    """The nearest of each row among others: its place and its distance, both (n,)."""

    place: NDArray[np.intp]
    distance: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Generation:
    """Generated pictures beside real ones.

    Attributes:
        likeness: to real pictures that training has not seen.
        novelty: median distance of a generated picture from the nearest that training has seen,
            by that of a real one that it has not: 1 = as new as real ones, near 0 = copies.
        pictures: some that were generated, (k, C, H, W), 0 to 255.
        pairs: (k, 2, C, H, W): those that are nearest to one that training has seen, and that one.
        rows: pictures that were generated.
        space: name and version of the classifier in whose feature space they are compared, or
            what stands in its place.
    """

    likeness: Likeness
    novelty: float
    pictures: NDArray[np.uint8]
    pairs: NDArray[np.uint8]
    rows: int
    space: str

    @property
    def figures(self) -> dict[str, float]:
        """As metrics of a manifest."""
        return {
            "frechet_distance": self.likeness.generated,
            "frechet_distance_real_halves": self.likeness.real,
            "frechet_ratio": self.likeness.ratio,
            "frechet_rows": float(self.likeness.rows),
            "novelty": self.novelty,
        }


class Beside:
    """Real pictures that generated ones are held against.

    Args:
        space: in which pictures are compared.
        train: that training has seen, (n, C, H, W), 0 to 255.
        test: that it has not.
    """

    def __init__(self, space: Space, train: NDArray[np.uint8], test: NDArray[np.uint8]) -> None:
        self.space = space
        self.train = train
        self.known, self.seen = space.of(train), space.of(test)

    def judge(self, pictures: NDArray[np.uint8]) -> Generation:
        """Compare generated pictures (n, C, H, W), 0 to 255; n at least half of the test part."""
        made = self.space.of(pictures)
        closest = nearest(made, self.known)
        shown = np.argsort(closest.distance, kind="stable")[:PAIRS]
        pairs = np.stack([pictures[shown], self.train[closest.place[shown]]], axis=1)
        return Generation(
            likeness(made, self.seen), novelty(made, self.seen, self.known), pictures[:SHOWN],
            pairs, len(pictures), self.space.reference,
        )  # fmt: skip


def novelty(
    made: NDArray[np.float64], seen: NDArray[np.float64], known: NDArray[np.float64]
) -> float:
    """See `Generation`; from features (n, d), (m, d) and those of training pictures."""
    usual = float(np.median(nearest(seen, known).distance))
    return float(np.median(nearest(made, known).distance)) / max(usual, 1e-12)


def nearest(rows: NDArray[np.float64], among: NDArray[np.float64]) -> Nearest:
    """The nearest of some features (n, d) among others (m, d), by Euclidean distance."""
    # The squares of the rows themselves order nothing.
    place = (np.square(among).sum(axis=1) - 2 * rows @ among.T).argmin(axis=1)
    return Nearest(place, np.sqrt(np.square(rows - among[place]).sum(axis=1)))


def draw_generation(found: Generation) -> bytes:
    """Samples, and those that are nearest to a training picture beside it, as PNG."""
    figure = blank(11.4, 6.0)
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    left.imshow(np.asarray(contact_sheet(found.pictures)), interpolation="nearest")
    left.set_title(f"The first {len(found.pictures)} of {found.rows}", fontsize=11, loc="left")
    pairs = found.pairs.reshape(-1, *found.pairs.shape[2:])
    right.imshow(np.asarray(contact_sheet(pairs, columns=8)), interpolation="nearest")
    title = "The nearest to training pictures: generated, and beside it\nthe training picture"
    right.set_title(title, fontsize=11, loc="left")
    for axes in (left, right):
        axes.set_axis_off()
    return png(figure)
