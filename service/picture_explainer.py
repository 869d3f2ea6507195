"""One picture and the model that is to be explained on it, as the explaining engine wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.explanation import sha256
from service.explain.image import ImageConfig, ImageExplanation, explain_image
from service.explain.parameters import ExplainParameters, target_index
from service.explain.trust import faithfulness, stability
from service.inference.registry import LoadedModel

Progress = Callable[[int, int], None]
#: Perturbed pictures that go to the graph together: enough to keep it busy, and no more than
#: keeps its activations, some fifty times the pictures, within a few hundred megabytes.
BATCH_BYTES, SMALLEST_BATCH, LARGEST_BATCH = 2 * 1024 * 1024, 4, 256


class PictureExplainer:
    """Explains one picture.

    Args:
        model: whose manifest declares an image explainer.
        image: (C, H, W) uint8.
        parameters: what was asked for; the model's defaults fill the rest.

    Raises:
        InvalidParameter: a value is outside its range.
    """

    def __init__(
        self, model: LoadedModel, image: NDArray[np.uint8], parameters: ExplainParameters
    ) -> None:
        assert model.manifest.media is not None
        self._model = model
        self._image = image
        self._parameters = parameters
        self._config = _config(model, parameters, image.nbytes)
        self._input = model.manifest.media.input

    @property
    def key(self) -> str:
        """The same for explanations that would be the same bit for bit."""
        asked = f"{self._config!r} {self._parameters.faithfulness} {self._parameters.repeats}"
        image = self._image
        parts = (self._model.manifest.digest, sha256(image), str(image.shape), asked)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def explain(self, progress: Progress | None, deadline: float) -> ImageExplanation:
        """The explanation, with the quality that was asked for besides.

        Args:
            progress: told (samples done, samples in all); what it raises passes through.
            deadline: `time.monotonic()` by which it must stand.

        Raises:
            ExplanationError, InvalidParameter, DeadlineExceeded: see `explain_image`.
        """
        image, config = self._image, self._config
        found = explain_image(image, self._scores, config, progress=progress, deadline=deadline)
        quality = found.quality
        if self._parameters.faithfulness:
            deletion, insertion = faithfulness(image, self._scores, config, found)
            quality = replace(quality, deletion_auc=deletion, insertion_auc=insertion)
        if repeats := self._parameters.repeats:
            vsi, csi = stability(image, self._scores, config, found, repeats, deadline, progress)
            quality = replace(quality, repeats=repeats, vsi=vsi, csi=csi)
        return replace(found, quality=quality)

    def _scores(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """(n, C, H, W) pictures to (n, n_labels) scores, through the recorded model."""
        return self._model.scores(self._model.predict({self._input: images}))


def _config(model: LoadedModel, parameters: ExplainParameters, image_bytes: int) -> ImageConfig:
    assert model.manifest.explainer is not None
    full = parameters.resolved(model.manifest.explainer)
    return ImageConfig(
        segmentation=full.segmentation or "auto",
        num_samples=full.num_samples or model.manifest.explainer.num_samples,
        num_features=full.num_features or model.manifest.explainer.num_features,
        target=target_index(full.target, model.manifest.labels),
        seed=full.seed,
        hide_color=full.hide_color,
        stop_confidence=full.stop_confidence,
        batch_size=min(LARGEST_BATCH, max(SMALLEST_BATCH, BATCH_BYTES // image_bytes)),
        labels=model.manifest.labels,
    )
