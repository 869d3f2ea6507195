"""Server and model metadata bodies of Open Inference Protocol v2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from service.manifest import Manifest, Tensor

#: Protocol extensions that the codecs of this room speak.
EXTENSIONS: Final = ("binary_tensor_data",)

_TASK_OUTPUTS: Final[dict[str, tuple[Tensor, ...]]] = {
    "classify": (
        Tensor(name="label", datatype="BYTES", shape=(-1,)),
        Tensor(name="confidence", datatype="FP32", shape=(-1,), range=(0.0, 1.0)),
    ),
    "anomaly": (
        Tensor(name="p_value", datatype="FP64", shape=(-1,), range=(0.0, 1.0)),
        Tensor(name="verdict", datatype="BYTES", shape=(-1,)),
        Tensor(name="threshold", datatype="FP32", shape=(-1,), unit="score"),
        Tensor(name="budget", datatype="FP64", shape=(-1,), range=(0.0, 1.0)),
        Tensor(name="contributors", datatype="BYTES", shape=(-1, -1)),
        Tensor(name="contributions", datatype="FP32", shape=(-1, -1), range=(0.0, 1.0)),
    ),
    # The seed that noise was drawn by, where none was sent.
    "generate": (Tensor(name="seed", datatype="INT64", shape=(-1,)),),
    "act": (
        Tensor(name="action", datatype="BYTES", shape=(-1,)),
        Tensor(name="outside_feature", datatype="BYTES", shape=(-1,)),
    ),
}
#: How many values of a row were gaps and have been interpolated.
_INTERPOLATED: Final = Tensor(name="interpolated", datatype="INT64", shape=(-1,), unit="values")


def task_outputs(manifest: Manifest) -> tuple[Tensor, ...]:
    """Outputs that are added to the graph's own: by the task, and of gaps that were filled."""
    own = {tensor.name for tensor in manifest.outputs}
    added = _TASK_OUTPUTS.get(manifest.task, ())
    if manifest.sequences is not None and manifest.sequences.gaps == "interpolate":
        added = (*added, _INTERPOLATED)
    return tuple(t for t in added if t.name not in own)


def server_metadata(version: str) -> dict[str, Any]:
    """Body of `GET /v2`.

    Args:
        version: of this Glassline.
    """
    return {"name": "glassline", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(manifest: Manifest, versions: Sequence[str]) -> dict[str, Any]:
    """Body of `GET /v2/models/{name}`.

    Args:
        manifest: of the version that is described.
        versions: all that are stored, oldest first.

    Returns:
        The protocol's members; `parameters` (the protocol's extension point) carries what
        else a caller needs: task, labels, how pictures are decoded, the manifest's digest.
    """
    parameters: dict[str, Any] = {
        "task": manifest.task,
        "family": manifest.family,
        "version": manifest.version,
        "digest": manifest.digest,
        "labels": list(manifest.labels),
        "media": manifest.media.model_dump(mode="json") if manifest.media else None,
    }
    if manifest.interval is not None:
        parameters["interval"] = manifest.interval.model_dump(mode="json")
    if manifest.calibration is not None:
        parameters["calibration"] = manifest.calibration.model_dump(mode="json")
    if manifest.gallery is not None:
        parameters["gallery"] = manifest.gallery.model_dump(mode="json")
    if manifest.policy is not None:
        parameters["policy"] = manifest.policy.model_dump(mode="json")
    outputs = (*manifest.outputs, *task_outputs(manifest))
    return {
        "name": manifest.name,
        "versions": list(versions),
        "platform": "onnxruntime_onnx",
        "inputs": [_tensor(tensor) for tensor in manifest.inputs],
        "outputs": [_tensor(tensor) for tensor in outputs],
        "parameters": parameters,
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
    }
    extra = tensor.model_dump(mode="json", include={"unit", "range", "features"}, exclude_none=True)
    if extra:
        described["parameters"] = extra
    return described
