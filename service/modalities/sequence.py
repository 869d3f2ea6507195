"""Sequences: single steps are drawn anew, or stretches of time are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain.background import TableBackground
from service.explain.feature_explanation import FeatureExplanation
from service.explain.parameters import ExplainParameters
from service.explain.sequence import (
    SegmentsConfig,
    explain_segments,
    explain_steps,
    segments_of,
)
from service.explain.table import TableConfig
from service.explain.windows import WindowHider
from service.inference.windows import interpolated
from service.modalities.modality import (
    ExplainedModel,
    Explanation,
    Hide,
    InputExplainer,
    Progress,
    batch_size,
)
from service.modalities.statistics import BACKGROUND, background_of, usual_of
from service.modalities.table import table_config, typical

#: An input of this name, one whole number a row, says how many steps of the window are real.
LENGTH = "length"
#: Windows that go to the graph together.
SMALLEST_BATCH, LARGEST_BATCH = 16, 1024
_STEPS = frozenset({"discretizer", "sample_around_row", "keep_tied_values"})
_SEGMENTS = frozenset({"segment_steps", "channels_together", "background"})


class WindowExplainer(InputExplainer):
    """Explains a window of a sequence, (T, C) floats; see `InputExplainer`.

    Method `lime` draws single steps anew and needs background statistics of windows of this
    length; `lime-segments` hides stretches of time. Without a method it is `lime` where the
    statistics fit.
    """

    modality: ClassVar[str] = "sequence"
    own: ClassVar[frozenset[str]] = _STEPS | _SEGMENTS
    methods: ClassVar[tuple[str, ...]] = ("lime", "lime-segments")

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        super().__init__(model, inputs, row, parameters)
        self._name = self.only("f", "FP32 or FP64 of shape (rows, steps, channels)", 3)
        self._window = self.row[self._name][0]
        if LENGTH in self.row:
            # What is padded is no part of the sequence.
            self._window = self._window[: max(1, int(self.row[LENGTH].ravel()[0]))]
        if np.isnan(self._window).any():
            self._window = self._filled()
        self._background = self._fitting(background_of(model))
        self._config: TableConfig | SegmentsConfig
        if self._background is not None:
            parameters.refuse_others("sequence, step by step", self.own - _SEGMENTS)
            self._config = table_config(self, self._window.nbytes)
        else:
            parameters.refuse_others("sequence by segments", self.own - _STEPS)
            self._config = self._segments_config()

    def _filled(self) -> NDArray[Any]:
        """The window as the graph has seen it, its gaps filled."""
        steps = np.array([len(self._window)], np.int64)
        try:
            filled: NDArray[Any] = interpolated(self._window[np.newaxis], steps)[0][0]
            return filled
        except ValueError:
            raise ExplanationError(
                f"{self.model.manifest.reference}: input '{self._name}' has a channel without a "
                "value: there is nothing to be hidden. Explain a window that was measured."
            ) from None

    def _fitting(self, background: TableBackground | None) -> TableBackground | None:
        """The statistics, where the steps are to be explained by them.

        Raises:
            InvalidParameter: they are asked for, but do not fit.
        """
        method = self.parameters.method
        fits = background is not None and len(background.names) == self._window.size
        if method == "lime" and not fits:
            held = f"for {len(background.names)} values" if background else "none"
            raise InvalidParameter(
                f"explain parameters: method: got 'lime', but the window has {self._window.size} "
                f"values and the model's statistics (asset '{BACKGROUND}') are {held}. "
                "Ask for 'lime-segments'."
            )
        return background if fits and method != "lime-segments" else None

    def _segments_config(self) -> SegmentsConfig:
        asked, usual = self.parameters, usual_of(self.model)
        return SegmentsConfig(
            **self.asked,
            num_features=asked.num_features,
            usual_features=self.defaults.num_features,
            batch_size=batch_size(self._window.nbytes, SMALLEST_BATCH, LARGEST_BATCH),
            segment_steps=asked.segment_steps,
            channels_together=asked.channels_together,
            background=asked.background or ("usual" if usual else "mean"),
            usual=usual,
            channels=self.model.manifest.inputs[0].features or (),
        )

    @property
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """The window."""
        return {"window": self._window}

    @property
    def config(self) -> TableConfig | SegmentsConfig:
        """What the engine was asked."""
        return self._config

    def one(
        self, config: TableConfig | SegmentsConfig, progress: Progress | None, deadline: float
    ) -> FeatureExplanation:
        """See `explain_steps` and `explain_segments`."""
        if isinstance(config, SegmentsConfig):
            return explain_segments(
                self._window, self._predict, config, progress=progress, deadline=deadline
            )
        assert self._background is not None
        return explain_steps(
            self._window,
            self._predict,
            self._background,
            config,
            dtype=np.float32 if self._window.dtype == np.float32 else np.float64,
            progress=progress,
            deadline=deadline,
        )

    def hider(self, found: Explanation) -> Hide:  # noqa: ARG002 - pictures need it
        """Hidden stretches or steps are filled as the explanation filled them."""
        return self._hide

    def _hide(self, masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        if isinstance(self._config, SegmentsConfig):
            segments = segments_of(self._window, self._config)
            state = np.random.RandomState(self._config.seed)
            hider = WindowHider(
                self._window, segments, self._config.background, state, self._config.usual
            )
            return self._by_batches(masks, hider.windows)
        assert self._background is not None
        steps, channels = self._window.shape
        usual = typical(self._background).reshape(channels, steps).T

        def windows(masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
            shown = masks.reshape(-1, channels, steps).transpose(0, 2, 1) == 1
            return np.where(shown, self._window, usual)

        return self._by_batches(masks, windows)

    def _by_batches(self, masks: NDArray[np.int64], make: Any) -> NDArray[np.floating[Any]]:
        size = self._config.batch_size
        parts = [
            self._predict(make(masks[start : start + size])) for start in range(0, len(masks), size)
        ]
        return np.concatenate(parts)

    def _predict(self, windows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        batch = np.ascontiguousarray(windows, self._window.dtype)
        return self.scores(self._name, batch)
