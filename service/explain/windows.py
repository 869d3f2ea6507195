"""A window of a sequence cut into segments, and windows with some of them hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError
from service.explain.feature_explanation import Feature

#: What can stand in place of a hidden segment.
BACKGROUNDS = ("mean", "interpolation", "noise", "usual")


def check_window(window: NDArray[Any]) -> None:
    """Raise ExplanationError unless this is (T, C) finite floats."""
    if window.ndim != 2 or window.dtype.kind != "f" or window.size == 0:
        raise ExplanationError(
            f"window: got {window.dtype} of shape {window.shape}, wanted floats of shape "
            "(steps, channels). Send one window."
        )
    bad = np.argwhere(~np.isfinite(window))
    if len(bad):
        step, channel = bad[0].tolist()
        raise ExplanationError(
            f"window: got {window[step, channel]} at step {step} of channel {channel}, wanted "
            "finite numbers. Fill the gap the way that the training data was filled."
        )


@dataclass(frozen=True, slots=True)
class Segments:
    """Pieces of time in each channel, or in all channels at once.

    `starts` (P+1,) are the first steps of the P pieces, and the number of steps T at the end.
    Segment `channel * P + piece`; with channels together there is one a piece.
    """

    starts: NDArray[np.intp]
    channels: int
    together: bool

    @classmethod
    def of(cls, steps: int, channels: int, length: int, together: bool) -> Segments:
        """Cut `steps` into pieces as equal as can be, of at most `length` steps."""
        pieces = -(-steps // length)
        return cls(np.arange(pieces + 1) * steps // pieces, channels, together)

    @property
    def pieces(self) -> int:
        """P, pieces of time."""
        return len(self.starts) - 1

    @property
    def count(self) -> int:
        """S, segments."""
        return self.pieces * (1 if self.together else self.channels)

    def owner(self) -> NDArray[np.intp]:
        """(T, C): the segment that each number belongs to."""
        piece = np.repeat(np.arange(self.pieces), np.diff(self.starts))
        channel = np.zeros(self.channels, np.intp) if self.together else np.arange(self.channels)
        owner: NDArray[np.intp] = piece[:, None] + channel * self.pieces
        return owner


class WindowHider:
    """Writes a window with some segments hidden.

    Args:
        window: (T, C) floats.
        segments: of the window.
        background: "mean" is each channel's mean over the window. "interpolation" is the line
            between the nearest numbers shown on both sides, the nearest one where there is
            one side, the mean where the whole channel is hidden. "noise" is drawn anew for
            each sample, normal, with each channel's mean and standard deviation. "usual" is what
            is usual of each channel elsewhere: a window that is too low throughout is only then
            another one where it is hidden.
        state: generator for the noise. Samples must be asked for in order.
        usual: (C,) what is usual of each channel, for that background.
    """

    def __init__(
        self,
        window: NDArray[np.floating[Any]],
        segments: Segments,
        background: str,
        state: np.random.RandomState,
        usual: Sequence[float] = (),
    ) -> None:
        self._window = window
        self._segments = segments
        self._owner = segments.owner()
        self._background = background
        self._state = state
        self._mean: NDArray[np.floating[Any]] = (
            np.array(usual) if background == "usual" else window.mean(axis=0)
        )
        self._spread: NDArray[np.floating[Any]] = window.std(axis=0)

    def windows(self, shown: NDArray[Any]) -> NDArray[np.floating[Any]]:
        """(n, S), 1 = shown, to (n, T, C) of the window's own type."""
        keep = np.take(shown.astype(bool), self._owner, axis=1)
        if self._background == "interpolation":
            hidden = self._interpolated(shown)
        elif self._background == "noise":
            hidden = self._state.normal(size=keep.shape) * self._spread + self._mean
        else:
            hidden = np.broadcast_to(self._mean, keep.shape)
        return np.where(keep, self._window, hidden.astype(self._window.dtype, copy=False))

    def _interpolated(self, shown: NDArray[Any]) -> NDArray[np.float64]:
        segments, (steps, channels) = self._segments, self._window.shape
        wide = shown.reshape(len(shown), -1, segments.pieces).transpose(0, 2, 1).astype(bool)
        wide = np.broadcast_to(wide, (len(shown), segments.pieces, channels))
        # The nearest piece shown at or before each piece, and at or after it; -1 and P = none.
        at = np.arange(segments.pieces)[:, None]
        before = np.maximum.accumulate(np.where(wide, at, -1), axis=1)
        after = np.where(wide, at, segments.pieces)[:, ::-1]
        after = np.minimum.accumulate(after, axis=1)[:, ::-1]
        column = np.arange(channels)
        # Its last step before, its first step after.
        left = segments.starts[before + 1] - 1
        right = np.minimum(segments.starts[after], steps - 1)
        low = self._window[np.maximum(left, 0), column]
        high = self._window[right, column]
        low, high = np.where(before < 0, high, low), np.where(after == segments.pieces, low, high)
        nothing = (before < 0) & (after == segments.pieces)
        low, high = np.where(nothing, self._mean, low), np.where(nothing, self._mean, high)
        slope = (high - low) / np.maximum(segments.starts[after] - left, 1)
        piece = np.repeat(np.arange(segments.pieces), np.diff(segments.starts))
        step = np.arange(steps)[:, None]
        line: NDArray[np.float64] = low[:, piece] + slope[:, piece] * (step - left[:, piece])
        return line


def described(segments: Segments, channels: tuple[str, ...]) -> tuple[Feature, ...]:
    """The segments as features, in their order; channels without a name are numbered."""
    features = []
    for channel in range(1 if segments.together else segments.channels):
        name = channels[channel] if channel < len(channels) else f"channel {channel}"
        name = "all channels" if segments.together else name
        for start, stop in zip(
            segments.starts[:-1].tolist(), segments.starts[1:].tolist(), strict=True
        ):
            features.append(
                Feature(
                    f"{name} {start}-{stop - 1}",
                    f"{name}, steps {start} to {stop - 1}",
                    spans=((start, stop),),
                    channel=None if segments.together else channel,
                )
            )
    return tuple(features)
