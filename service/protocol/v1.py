"""KServe's V1 protocol: `instances` in, `predictions` or `explanations` out.

Source: KServe, V1 Inference Protocol (the TensorFlow Serving row format).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import MalformedBody, TensorMismatch
from service.manifest import Manifest
from service.protocol import envelope, json_codec
from service.protocol.datatypes import texts
from service.protocol.request import InferRequest


def decode(body: bytes, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode `{"instances": [...]}`.

    An instance is the value of the only input, or an object of input name to value.

    Raises:
        MalformedBody: no list of instances, or instances of different forms.
        TensorMismatch: as `json_codec.decode` has it.
        TooLarge: more than `max_rows` instances.
    """
    document = envelope.parse(body, manifest.name)
    instances = document.get("instances", document.get("inputs"))
    if not isinstance(instances, list) or not instances:
        raise MalformedBody(
            f'{manifest.name}: wanted {{"instances": [...]}} with at least one instance.'
        )
    columns = _windows(_columns(instances, manifest), manifest)
    datatypes = {tensor.name: tensor.datatype for tensor in manifest.inputs}
    request = {
        "parameters": document.get("parameters") or {},
        "inputs": [
            {
                "name": name,
                "datatype": datatypes.get(name, "BYTES"),
                "shape": _shape(values),
                "data": values,
            }
            for name, values in columns.items()
        ],
    }
    return json_codec.decode(orjson.dumps(request), manifest, max_rows)


def _columns(instances: list[Any], manifest: Manifest) -> dict[str, list[Any]]:
    """Input name to the values of all instances."""
    if all(isinstance(instance, dict) for instance in instances):
        names = list(instances[0])
        if any(list(instance) != names for instance in instances):
            raise MalformedBody(f"{manifest.name}: instances: all must have the same fields.")
        return {name: [instance[name] for instance in instances] for name in names}
    if any(isinstance(instance, dict) for instance in instances):
        raise MalformedBody(f"{manifest.name}: instances: some are objects and some are not.")
    if not manifest.alone:
        wanted = ", ".join(tensor.name for tensor in manifest.inputs)
        raise MalformedBody(
            f"{manifest.name}: instances: wanted an object with the inputs {wanted} each."
        )
    return {manifest.inputs[0].name: instances}


def _windows(columns: dict[str, list[Any]], manifest: Manifest) -> dict[str, list[Any]]:
    """Windows of several lengths as windows of one, padded, and how long each of them is."""
    media = manifest.sequences
    windows = columns.get(media.input) if media is not None else None
    if media is None or windows is None or media.length in columns:
        return columns
    if not all(isinstance(one, list) and one and isinstance(one[0], list) for one in windows):
        return columns
    lengths = [len(one) for one in windows]
    if max(lengths) > media.longest:  # before so much is padded
        raise TensorMismatch(
            f"{manifest.reference}: input '{media.input}', row {lengths.index(max(lengths))}: got "
            f"{max(lengths)} steps, wanted at most {media.longest}. Send the last ones."
        )
    blank = [0.0] * len(windows[0][0])
    padded = [one + [blank] * (max(lengths) - len(one)) for one in windows]
    return {**columns, media.input: padded, media.length: lengths}


def _shape(values: Any) -> list[int]:
    """Extents of nested lists along their first elements; the codec checks the others."""
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        if not values:
            break
        values = values[0]
    return shape


def predictions(outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """One object of output name to value for each row."""
    columns = {
        name: texts(name, values)
        if values.dtype.kind in "OUS"
        else values.astype(np.float64 if values.dtype.kind == "f" else values.dtype).tolist()
        for name, values in outputs.items()
    }
    rows = len(next(iter(columns.values())))
    return [{name: column[row] for name, column in columns.items()} for row in range(rows)]
