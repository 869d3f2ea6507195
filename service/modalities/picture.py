"""Pictures: superpixels are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError
from service.explain.explanation import ImageExplanation
from service.explain.image import ImageConfig, explain_image
from service.explain.parameters import ExplainParameters
from service.explain.perturb import Composer, background, score
from service.modalities.modality import (
    ExplainedModel,
    InputExplainer,
    Progress,
    batch_size,
    repeated,
)

#: Pictures that go to the graph together.
SMALLEST_BATCH, LARGEST_BATCH = 4, 256


class PictureExplainer(InputExplainer):
    """Explains a picture, (C, H, W) uint8, by its superpixels; see `InputExplainer`."""

    modality: ClassVar[str] = "image"
    own: ClassVar[frozenset[str]] = frozenset({"segmentation", "hide_color", "stop_confidence"})

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        super().__init__(model, inputs, row, parameters)
        media = model.manifest.images
        if media is None:
            raise ExplanationError(
                f"{model.manifest.reference}: its manifest declares an image explainer, but no "
                "media that says which input is a picture. Release it with media."
            )
        self._name = media.input
        self._image: NDArray[np.uint8] = self.row[media.input][0]
        self._config = ImageConfig(
            segmentation=parameters.segmentation or self.defaults.segmentation,
            num_samples=self.num_samples,
            num_features=parameters.num_features or self.defaults.num_features,
            target=self.target,
            seed=parameters.seed,
            hide_color=parameters.hide_color,
            stop_confidence=parameters.stop_confidence,
            batch_size=batch_size(self._image.nbytes, SMALLEST_BATCH, LARGEST_BATCH),
            labels=self.labels,
        )

    @property
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """The picture."""
        return {"image": self._image}

    @property
    def config(self) -> ImageConfig:
        """What the engine was asked."""
        return self._config

    def explain(self, progress: Progress | None, deadline: float) -> ImageExplanation:
        """See `InputExplainer.explain` and `explain_image`."""
        config, repeats = self._config, self.parameters.repeats

        def one(config: ImageConfig, number: int) -> ImageExplanation:
            told = repeated(progress, number, repeats)
            return explain_image(
                self._image, self._predict, config, progress=told, deadline=deadline
            )

        found = one(config, 0)
        first = found.of().label

        def again(seed: int) -> ImageExplanation:
            number = (seed - config.seed) % 2**32
            return one(replace(config, seed=seed, target=first, top_labels=1), number)

        def hide(masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
            behind = background(self._image, found.segments, config.hide_color)
            batch = min(config.batch_size, len(masks))
            composer = Composer(self._image, behind, found.segments, batch)
            return score(composer, masks, self._predict, batch, lambda _: None).values

        return self.judged(found, hide, again)

    def _predict(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        return self.scores(self._name, images)
