"""Pictures: superpixels are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError
from service.explain.explanation import ImageExplanation
from service.explain.image import ImageConfig, explain_image
from service.explain.parameters import ExplainParameters
from service.explain.perturb import Composer, background
from service.explain.scoring import score
from service.modalities.modality import (
    ExplainedModel,
    Explanation,
    Hide,
    InputExplainer,
    Progress,
    batch_size,
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
            **self.asked,
            num_features=parameters.num_features or self.defaults.num_features,
            hide_color=parameters.hide_color,
            stop_confidence=parameters.stop_confidence,
            batch_size=batch_size(self._image.nbytes, SMALLEST_BATCH, LARGEST_BATCH),
        )

    @property
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """The picture."""
        return {"image": self._image}

    @property
    def config(self) -> ImageConfig:
        """What the engine was asked."""
        return self._config

    def one(
        self, config: ImageConfig, progress: Progress | None, deadline: float
    ) -> ImageExplanation:
        """See `explain_image`."""
        return explain_image(
            self._image, self._predict, config, progress=progress, deadline=deadline
        )

    def hider(self, found: Explanation) -> Hide:
        """Hidden superpixels are filled as the explanation filled them."""
        assert isinstance(found, ImageExplanation)
        behind = background(self._image, found.segments, self._config.hide_color)

        def hide(masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
            batch = min(self._config.batch_size, len(masks))
            composer = Composer(self._image, behind, found.segments, batch)
            return score(
                lambda start, stop: composer.compose(masks[start:stop]),
                len(masks),
                self._predict,
                batch,
                lambda _: None,
            ).values

        return hide

    def _predict(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        return self.scores(self._name, images)
