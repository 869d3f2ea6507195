"""What only detectors have over HTTP: the error as a picture."""

from __future__ import annotations

from service.explain.heat_map import Judged, draw_error_signals, draw_heat_map
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.protocol.request import InferRequest
from service.routes.reply import PNG, Reply


def detects(model: LoadedModel) -> bool:
    """Whether the model finds anomalies."""
    return model.manifest.task == "anomaly"


def heat_map(
    model: LoadedModel, request: InferRequest, prediction: Prediction, headers: dict[str, str]
) -> Reply:
    """The first row under its error: a picture's heat map, or a window's shaded signals."""
    outputs = prediction.outputs
    error, subject = outputs["error"][0], request.inputs[model.manifest.inputs[0].name][0]
    judged = Judged(
        verdict=str(outputs["verdict"][0]),
        score=float(outputs["score"][0, 0]),
        threshold=float(outputs["threshold"][0]),
        p_value=float(outputs["p_value"][0]),
        budget=float(outputs["budget"][0]),
        contributors=list(
            zip(outputs["contributors"][0], outputs["contributions"][0].tolist(), strict=True)
        ),
    )
    if model.manifest.images is not None:
        body = draw_heat_map(subject, error, judged)
    else:
        names = model.manifest.inputs[0].features
        if model.manifest.sequences is not None:
            steps = int(request.inputs[model.manifest.sequences.length][0])
            error, subject = error[:steps], subject[:steps]
        channels = names or [f"channel {at}" for at in range(error.shape[1])]
        body = draw_error_signals(subject, error, channels, judged)
    return Reply(body, PNG, {**headers, "vary": "accept"})
