"""Draw which segments are hidden, and make the perturbed pictures, one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.explain.scoring import refuse_size, state_digest

#: Pixels composed at a time, so that a block stays in the processor's cache.
_BLOCK_PIXELS = 1 << 18


@dataclass(frozen=True, slots=True)
class Masks:
    """Which segment is shown in which sample.

    `shown` is (N, S) int64, 1 = as in the picture, 0 = hidden; row 0 shows everything.
    `state_sha256` digests the generator after the draws.
    """

    shown: NDArray[np.int64]
    state_sha256: str


def sample_masks(num_samples: int, segments: int, seed: int) -> Masks:
    """Draw the samples exactly as upstream's `LimeImageExplainer` does for this seed.

    Args:
        num_samples: N, rows, the untouched picture included.
        segments: S, columns.
        seed: of a Mersenne Twister, 0 to 2³²-1.

    Raises:
        InvalidParameter: N x S is more than `scoring.MAX_CELLS`.
    Source: lime 0.2.0.1, lime_image.py, `explain_instance` and `data_labels`.
    """
    refuse_size("num_samples x segments", num_samples, segments)
    state = np.random.RandomState(seed)
    # Upstream draws a seed for its segmentation first, whether or not it is used.
    state.randint(0, high=1000)
    shown = state.randint(0, 2, num_samples * segments).reshape((num_samples, segments))
    shown[0, :] = 1
    return Masks(shown, state_digest(state))


def background(
    image: NDArray[np.uint8], labels: NDArray[np.int32], hide_color: int | None
) -> NDArray[np.uint8]:
    """What stands in place of hidden segments.

    Args:
        image: (C, H, W).
        labels: (H, W), 0..S-1.
        hide_color: 0-255 for every channel; None = each segment's mean colour.

    Returns:
        (C, H, W), in the picture's own type: means are cut to whole numbers, as upstream does.
    """
    if hide_color is not None:
        return np.full_like(image, hide_color)
    flat = labels.ravel()
    sizes = np.bincount(flat)
    hidden = np.empty_like(image)
    for channel in range(image.shape[0]):
        # Sums of bytes are exact in float64, so this equals np.mean over each segment.
        means = np.bincount(flat, weights=image[channel].ravel()) / sizes
        hidden[channel] = means.astype(image.dtype)[labels]
    return hidden


class Composer:
    """Writes perturbed pictures into one buffer that is used again for every batch.

    Bytes are chosen without a branch: `hidden ^ ((image ^ hidden) & keep)` is the picture
    where `keep` is 255 and the background where it is 0, bit for bit what upstream's boolean
    indexing writes. Measured beside packed uint32 `np.where` with the move to channels-first
    that the model needs: 0.002 against 0.010 ms a sample at 32x32, 0.08 against 0.20 at
    3x224x224.
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        hidden: NDArray[np.uint8],
        labels: NDArray[np.int32],
        batch_size: int,
    ) -> None:
        pixels = labels.size
        self._hidden = hidden
        self._difference = image ^ hidden
        flat = labels.ravel()
        # Segments are patches: rows of pixels of one segment are repeated as a whole, in a
        # quarter of the time that it takes to look each pixel's segment up.
        starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
        self._run_segments = flat[starts].astype(np.intp)
        self._run_lengths = np.diff(np.append(starts, pixels))
        self._batch = np.empty((batch_size, *image.shape), np.uint8)
        self._block = max(1, min(batch_size, _BLOCK_PIXELS // pixels))

    def compose(self, shown: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Build the pictures of some mask rows.

        Args:
            shown: (n, S) with n <= batch_size; 1 = shown.

        Returns:
            (n, C, H, W), a view of the buffer: valid until the next call.
        """
        rows = shown.shape[0]
        choice = (shown * 255).astype(np.uint8)
        for start in range(0, rows, self._block):
            stop = min(start + self._block, rows)
            keep = np.repeat(choice[start:stop, self._run_segments], self._run_lengths, axis=1)
            out = self._batch[start:stop]
            plane = keep.reshape(stop - start, 1, *self._hidden.shape[1:])
            np.bitwise_and(self._difference, plane, out=out)
            np.bitwise_xor(out, self._hidden, out=out)
        return self._batch[:rows]
