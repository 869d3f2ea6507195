"""What only detectors have over HTTP: the error as a picture."""

from __future__ import annotations

from service.explain.error_picture import drawn_error
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.protocol.request import InferRequest


def detects(model: LoadedModel) -> bool:
    """Whether the model finds anomalies."""
    return model.manifest.task == "anomaly"


def heat_map(model: LoadedModel, request: InferRequest, prediction: Prediction) -> bytes:
    """The first row under its error as a PNG; see `drawn_error`."""
    return drawn_error(model.manifest, request.inputs, prediction.outputs)
