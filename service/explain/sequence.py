"""LIME for windows of sequences, in two ways.

`explain_steps` is upstream's: every step of every channel is a column of a table. For the same
seed and statistics the weights, intercept, R² and local prediction are bit for bit those of
`lime` 0.2.0.1's `RecurrentTabularExplainer`. What differs is named in `corrections`:

- `channels-named`: upstream fails without names.
- `categorical-channels`: upstream takes a channel's index for that of a column.
- those of `table.py`.

`explain_segments` is our own, method "lime-segments", for windows of any length: pieces of time
in each channel are hidden, as LIME hides the superpixels of a picture. It needs no training
data, and its answer speaks of stretches and not of single steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain.background import Discretizer, TableBackground
from service.explain.conclude import conclude, parameters
from service.explain.config import within
from service.explain.explanation import sha256
from service.explain.feature_config import FeatureConfig, choice
from service.explain.feature_explanation import FeatureExplanation
from service.explain.scoring import refuse_size, score, state_digest
from service.explain.steps import Steps
from service.explain.surrogate import Surrogate
from service.explain.table import TableConfig, explain_table
from service.explain.windows import BACKGROUNDS, Segments, WindowHider, check_window, described

__all__ = ["SegmentsConfig", "explain_segments", "explain_steps", "steps_background"]

Predict = Callable[[NDArray[np.floating[Any]]], NDArray[np.floating[Any]]]

#: Pieces of time when nobody says how long they are; upstream's kernel width for pictures.
_PIECES, _KERNEL_WIDTH = 10, 0.25
_UNMOVED = "hiding stretches hardly moves the score (spread {spread:.1g}); try another background"


def steps_background(
    windows: NDArray[Any],
    *,
    names: Sequence[str] = (),
    categorical: Sequence[int] = (),
    discretizers: Sequence[Discretizer] = ("quartile",),
) -> TableBackground:
    """Take the statistics of training windows for `explain_steps`.

    Args:
        windows: (rows, T, C) numbers, all of one length.
        names: of the channels; none = "channel 0", "channel 1", ...
        categorical: indices of channels that hold whole numbers which only name a kind.
        discretizers: as in `TableBackground.fit`.

    Raises:
        ExplanationError: see `TableBackground.fit`; a step that never changes is refused too.
    """
    if windows.ndim != 3 or windows.size == 0:
        raise ExplanationError(
            f"background: got shape {windows.shape}, wanted (rows, steps, channels). "
            "Send training windows of one length; explain_segments needs none."
        )
    rows, steps, channels = windows.shape
    names = tuple(names) or tuple(f"channel {channel}" for channel in range(channels))
    if len(names) != channels or not set(categorical) <= set(range(channels)):
        raise ExplanationError(
            f"background: got {len(names)} names and the categorical channels "
            f"{list(categorical)} for {channels} channels. Name each, and count from 0."
        )
    return TableBackground.fit(
        windows.transpose(0, 2, 1).reshape(rows, channels * steps),
        names=[f"{name}_t-{steps - 1 - step}" for name in names for step in range(steps)],
        categorical=[channel * steps + at for channel in categorical for at in range(steps)],
        discretizers=discretizers,
    )


def explain_steps(
    window: NDArray[Any],
    predict: Predict,
    background: TableBackground,
    config: TableConfig,
    *,
    dtype: type[np.floating[Any]] = np.float64,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> FeatureExplanation:
    """Explain a model's scores for one window by its single steps.

    Args:
        window: (T, C) finite numbers, T x C as the background has columns.
        predict: (n, T, C) of `dtype` -> (n, K) finite floats, or (n,); n <= batch_size.
        background: as `steps_background` gives it.
        config: see `TableConfig`.
        dtype: as in `explain_table`.
        progress: as in `explain_table`.
        deadline: as in `explain_table`.

    Raises:
        GlasslineError: as `explain_table`, and for a window of another length.
    Source: lime 0.2.0.1, lime_tabular.py, `RecurrentTabularExplainer`.
    """
    check_window(window)
    steps, channels = window.shape
    if steps * channels != len(background.names):
        raise ExplanationError(
            f"window: got {steps} steps of {channels} channels, but the background statistics "
            f"have {len(background.names)} columns, one a step and channel. Send a window of "
            "that length, or use segments."
        )
    table = explain_table(
        window.T.reshape(-1),
        lambda rows: predict(rows.reshape(-1, channels, steps).transpose(0, 2, 1)),
        background,
        config,
        dtype=dtype,
        progress=progress,
        deadline=deadline,
    )
    features = [
        replace(one, spans=((at % steps, at % steps + 1),), channel=at // steps)
        for at, one in enumerate(table.features)
    ]
    named = ["categorical-channels"] if background.categorical else []
    if background.names[0].startswith("channel 0_t-"):
        named.append("channels-named")
    return replace(
        table,
        modality="sequence",
        features=tuple(features),
        parameters={**table.parameters, "steps": steps, "channels": channels},
        corrections=(*table.corrections, *named),
    )


@dataclass(frozen=True, slots=True)
class SegmentsConfig(FeatureConfig):
    """What to explain in a window and how; see also `FeatureConfig`.

    Args:
        segment_steps: most steps in a segment, 1 to the window's; None = a tenth of them.
        channels_together: a segment is a stretch of time in all channels; else in one.
        background: one of `windows.BACKGROUNDS`, what stands in place of what is hidden.
        kernel_width: in cosine distance, > 0; None = 0.25.
        channels: names of the channels; empty = "channel 0".
        usual: what is usual of each channel, in its unit; the background of that name needs it.

    Raises:
        InvalidParameter: a value is outside its range.
    """

    num_samples: int = 1000
    segment_steps: int | None = None
    channels_together: bool = False
    background: str = "mean"
    channels: tuple[str, ...] = ()
    usual: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        FeatureConfig.__post_init__(self)
        choice("background", self.background, BACKGROUNDS)
        if self.segment_steps is not None:
            within("segment_steps", self.segment_steps, 1, None)


def explain_segments(
    window: NDArray[np.floating[Any]],
    predict: Predict,
    config: SegmentsConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> FeatureExplanation:
    """Explain a model's scores for one window by stretches of time in each channel.

    Args:
        window: (T, C) finite floats, of any length.
        predict: (n, T, C) of the window's type -> (n, K) finite floats, or (n,); n <=
            batch_size. It must score each window by itself.
        config: see `SegmentsConfig`.
        progress: told (samples done, samples in all) after each batch; what it raises stops
            the explanation and passes through.
        deadline: `time.monotonic()` by which the answer must stand.

    Raises:
        InvalidParameter: a value is outside its range for this window and model.
        ExplanationError: this window cannot be explained in this way.
        DeadlineExceeded: `deadline` passed; checked between steps and batches.
    Source: Ribeiro et al. 2016, arXiv:1602.04938, whose sampling and kernel for pictures this
        is; the segments are ours.
    """
    clock = Steps(deadline, config.num_samples, progress)
    check_window(window)
    length = _length(window, config)
    segments = segments_of(window, config)
    if segments.count < 2 or (window == window[0]).all():
        raise ExplanationError(
            f"window: got {segments.count} segments, and channels that "
            f"{'never change' if (window == window[0]).all() else 'change'}, wanted at least 2 "
            "segments and a channel that changes. Send more of the sequence, or a smaller "
            "segment_steps."
        )
    num_features = config.features_of(segments.count, "segments")
    refuse_size("num_samples x segments", config.num_samples, segments.count)
    state = np.random.RandomState(config.seed)
    shown = state.randint(0, 2, (config.num_samples, segments.count)).astype(np.uint8)
    shown[0] = 1
    drawn = state_digest(state)
    hider = WindowHider(window, segments, config.background, state, _usual(window, config))
    clock.end("sample")
    scores = score(
        lambda start, stop: hider.windows(shown[start:stop]),
        config.num_samples,
        predict,
        config.batch_size,
        clock.batch,
    )
    clock.record(compose=scores.compose_s, predict=scores.predict_s)
    width = config.kernel_width or _KERNEL_WIDTH
    # The cosine of a row of ones and zeros with all ones is √(ones / S).
    distances = 1 - np.sqrt(shown.mean(axis=1))
    surrogate = Surrogate(shown, distances, width, config.feature_selection)
    judged, quality = conclude(surrogate, scores.values, config, num_features, _UNMOVED)
    clock.end("surrogate")
    return FeatureExplanation(
        modality="sequence",
        features=described(segments, config.channels),
        explanations=judged,
        quality=quality,
        parameters=parameters(
            config,
            judged,
            num_features=num_features,
            kernel_width=width,
            distance="cosine",
            segment_steps=length,
            channels_together=config.channels_together,
            background=config.background,
        )
        | {"method": "lime-segments"}
        | ({"usual": list(config.usual)} if config.background == "usual" else {}),
        corrections=(),
        warnings=(),
        digests={
            "window": sha256(window),
            "samples": sha256(shown),
            "scores": sha256(scores.values),
            "rng_state": drawn,
        },
        seed=config.seed,
        samples_used=config.num_samples,
        stop_reason="num_samples reached",
        timings=clock.seconds(),
    )


def segments_of(window: NDArray[Any], config: SegmentsConfig) -> Segments:
    """The segments of a window (T, C).

    Raises:
        InvalidParameter: `segment_steps` is longer than the window.
    """
    length = _length(window, config)
    return Segments.of(len(window), window.shape[1], length, config.channels_together)


def _usual(window: NDArray[Any], config: SegmentsConfig) -> tuple[float, ...]:
    """What is usual of each channel, where hidden steps are filled with it."""
    if config.background == "usual" and len(config.usual) != window.shape[1]:
        raise InvalidParameter(
            f"parameter 'background': got 'usual', but the model says what is usual of "
            f"{len(config.usual)} channels, and the window has {window.shape[1]}. Ask for 'mean'."
        )
    return config.usual


def _length(window: NDArray[Any], config: SegmentsConfig) -> int:
    if config.segment_steps is None:
        return -(-len(window) // _PIECES)
    if config.segment_steps > len(window):
        raise InvalidParameter(
            f"parameter 'segment_steps': got {config.segment_steps}, but the window has "
            f"{len(window)} steps. Ask for at most {len(window)}."
        )
    return config.segment_steps
