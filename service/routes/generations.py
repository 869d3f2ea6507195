"""What only generations have over HTTP: seed, count and label, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import ClassVar

from service.errors import NotAcceptable
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.protocol.request import InferRequest
from service.tasks.generate import Asked, columns, makes_pictures


class Generations:
    """See `TaskRoutes`."""

    names: ClassVar[Collection[str]] = tuple(Asked.model_fields)

    def asked(
        self, request: InferRequest, model: LoadedModel, max_rows: int, *, seen: bool
    ) -> InferRequest:
        """The noise and the labels, as they were sent or drawn."""
        manifest = model.manifest
        if seen and not makes_pictures(manifest):
            raise NotAcceptable(
                f"{manifest.reference}: Accept: got image/png, but what this model generates is "
                "no picture. Accept application/json."
            )
        inputs, rest = columns(request.parameters, request.inputs, manifest, max_rows)
        return replace(request, inputs=inputs, parameters=rest)

    def picture(self, prediction: Prediction) -> bytes:
        """The pictures side by side; one alone is as it is."""
        from service.explain.render import png
        from service.explain.sheet import contact_sheet
        from service.tasks.generate import grey_levels

        pictures = grey_levels(next(iter(prediction.outputs.values())))
        return png(contact_sheet(pictures))
