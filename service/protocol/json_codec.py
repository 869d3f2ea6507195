"""Open Inference Protocol v2 in JSON: bytes to arrays, arrays to bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch
from service.manifest import Manifest, elements
from service.protocol import envelope
from service.protocol.datatypes import BINARY_ONLY, texts
from service.protocol.request import InferRequest
from service.protocol.signature import Slot, shown, signature_of

#: `struct` converts a list twice as fast as numpy, and refuses strings, nulls and overflow.
_TYPECODES: Final = {
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP32": "f", "FP64": "d",
}  # fmt: skip


def decode(body: bytes, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode a v2 JSON inference request and check it against the manifest.

    Args:
        body: UTF-8 JSON. `data` flat or nested, row-major.
        manifest: of the model that is asked.
        max_rows: largest batch.

    Raises:
        MalformedBody: not JSON, or a field of the wrong JSON type.
        TensorMismatch: names, datatypes, shapes, element counts or values do not fit.
        TooLarge: more than `max_rows` rows.
    """
    signature = signature_of(manifest)
    document = envelope.parse(body, signature.where)
    take = partial(take_json, _may_hold_booleans(body))
    return envelope.read(document, signature, max_rows, take)


def _may_hold_booleans(text: bytes) -> bool:
    # `struct` takes true for 1. Looking at every element's type costs more than the
    # conversion itself, and a byte scan nothing: no r and no l, then no true and no false.
    return (b"r" in text or b"l" in text) and (b"true" in text or b"false" in text)


def take_json(
    booleans: bool, slot: Slot, tensor: dict[str, Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """One input's array from its JSON `data`.

    Args:
        booleans: false where no `true` or `false` can be among the data.
        slot: what the manifest demands.
        tensor: the input's JSON object.
        shape: its checked shape.

    Raises:
        TensorMismatch: missing or ragged data, wrong count, wrong or refused values.
    """
    if slot.datatype in BINARY_ONLY:
        slot.refuse(f"has JSON data for {slot.datatype}", "binary data, JSON has no such number")
    parameters = tensor.get("parameters")
    if parameters is not None and "binary_data_size" in envelope.parameters_of(
        tensor, slot.where, "parameters"
    ):
        slot.refuse(
            "announces binary_data_size in a body without binary data",
            "JSON data",
            "Send the header Inference-Header-Content-Length with binary tensors.",
        )
    data = tensor.get("data")
    if type(data) is not list:
        slot.refuse(f"has data {shown(data)}", f"a list of {slot.datatype} values")
    if data and type(data[0]) is list:
        data = _flattened(slot, data, shape)
    if len(data) != elements(shape):
        slot.refuse(f"has {len(data)} elements", f"{elements(shape)} as its shape {shape} says")
    return _converted(slot, data, booleans).reshape(shape)


def _flattened(slot: Slot, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    level = data
    for depth, extent in enumerate(shape):
        if depth:
            regular = set(map(type, level)) == {list} and set(map(len, level)) == {extent}
            level = list(chain.from_iterable(level)) if regular else []
        if not level or (not depth and len(level) != extent):
            slot.refuse(
                f"has nested data that is ragged or does not follow its shape at axis {depth}",
                f"lists of {extent} there, or all elements in one flat list",
            )
    return level


def _converted(slot: Slot, data: list[Any], booleans: bool) -> NDArray[Any]:
    datatype = slot.datatype
    if datatype == "BYTES":
        if set(map(type, data)) - {str}:
            _refuse_element(slot, data, (str,))
        return np.array(data, dtype=object)
    if datatype == "BOOL":
        if set(map(type, data)) - {bool}:
            _refuse_element(slot, data, (bool,))
        return np.frombuffer(bytes(data), slot.dtype)
    numbers = (int, float) if slot.floating else (int,)
    if booleans and bool in set(map(type, data)):
        _refuse_element(slot, data, numbers)
    if slot.gaps and None in data:
        data = [math.nan if value is None else value for value in data]
    try:
        buffer = bytes(data) if datatype == "UINT8" else _packed(_TYPECODES[datatype], data)
    except (struct.error, TypeError, ValueError, OverflowError):
        _refuse_element(slot, data, numbers)
    values: NDArray[Any] = np.frombuffer(buffer, slot.dtype)
    if slot.range is not None:
        slot.check_values(values)
    return values


def _packed(typecode: str, data: list[Any]) -> bytes:
    return struct.pack(f"<{len(data)}{typecode}", *data)


def _refuse_element(slot: Slot, data: list[Any], kinds: tuple[type, ...]) -> NoReturn:
    wanted = f"values of {slot.datatype}"
    low, high = -math.inf, math.inf
    if slot.dtype.kind in "iu":
        low, high = int(np.iinfo(slot.dtype).min), int(np.iinfo(slot.dtype).max)
        wanted = f"whole numbers from {low} to {high}"
    elif slot.floating:
        low, high = float(np.finfo(slot.dtype).min), float(np.finfo(slot.dtype).max)
        wanted = f"numbers from {low:g} to {high:g}"
    for index, value in enumerate(data):
        if type(value) not in kinds or (slot.dtype.kind in "iuf" and not low <= value <= high):
            slot.refuse(f"has {shown(value)} at element {index}", wanted)
    slot.refuse("has a value that does not fit", wanted)


def encode(
    manifest: Manifest,
    outputs: Mapping[str, NDArray[Any]],
    request: InferRequest,
    parameters: Mapping[str, Any],
) -> bytes:
    """Encode an answer as v2 JSON, `data` flat and row-major.

    Args:
        manifest: of the model that answered.
        outputs: arrays by name; names beyond the manifest's are welcome.
        request: says which outputs, and brings the id.
        parameters: the answer's own, JSON values.

    Raises:
        TensorMismatch: a wanted output is missing, is a 16-bit float, or holds NaN or
            Infinity: JSON has no such number.
    """
    names = envelope.chosen(manifest, outputs, request)
    body = envelope.response(
        manifest, [json_tensor(name, outputs[name]) for name in names], request, parameters
    )
    if b"null" in body:
        check_finite({name: outputs[name] for name in names})
    return body


def json_tensor(name: str, values: NDArray[Any]) -> dict[str, Any]:
    """A response tensor with its data in JSON.

    Raises:
        TensorMismatch: 16-bit floats, or a dtype that the protocol does not know.
    """
    tensor = envelope.describe(name, values)
    datatype = tensor["datatype"]
    if datatype == "BYTES":
        tensor["data"] = texts(name, values)
        return tensor
    if datatype in BINARY_ONLY:
        raise TensorMismatch(
            f"output '{name}' is {datatype}: got a request for JSON, wanted binary data. "
            'Send "parameters": {"binary_data_output": true}.'
        )
    flat = values.reshape(-1)
    tensor["data"] = flat if flat.dtype.isnative else flat.astype(flat.dtype.newbyteorder("="))
    return tensor


def check_finite(outputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse an answer in which orjson may have put null for NaN or Infinity.

    Raises:
        TensorMismatch: an output holds NaN or Infinity.
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TensorMismatch(
                f"output '{name}' holds NaN or Infinity for this input, wanted finite numbers: "
                "JSON has no others. Check the input's values, or ask for binary data."
            )
