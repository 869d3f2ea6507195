"""The binary tensor extension: a JSON header, then tensors as little-endian bytes.

Source: Triton Inference Server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedBody
from service.manifest import Manifest, elements
from service.protocol import envelope
from service.protocol.datatypes import DTYPES, texts
from service.protocol.json_codec import check_finite, json_tensor, take_json
from service.protocol.request import InferRequest
from service.protocol.signature import Form, Signature, Slot, shown, signature_of

_LENGTH: Final = struct.Struct("<I")
#: Up to so many bytes, copying an output is cheaper than making a view of it.
_COPIED: Final = 4096


def decode(body: bytes, json_size: int, manifest: Manifest, max_rows: int) -> InferRequest:
    """Decode a request whose tensors follow the JSON as bytes.

    Fixed-size tensors become read-only views of `body`; only one that starts off its
    natural alignment is copied.

    Args:
        body: the JSON, then the binary tensors in the order of `inputs`.
        json_size: of the JSON, in bytes (Inference-Header-Content-Length); 0 = the whole
            body is the model's single input, and all outputs go back as bytes.
        manifest: of the model that is asked.
        max_rows: largest batch.

    Raises:
        MalformedBody: sizes do not add up, not JSON, or a field of the wrong JSON type.
        TensorMismatch: names, datatypes, shapes, sizes or values do not fit.
        TooLarge: more than `max_rows` rows.
    """
    signature = signature_of(manifest)
    if json_size == 0:
        return _raw(body, signature, max_rows)
    if not 0 < json_size <= len(body):
        raise MalformedBody(
            f"{signature.where}: Inference-Header-Content-Length: got {json_size}, "
            f"wanted 0 to {len(body)}, the size of the body. Send the size of the JSON in bytes."
        )
    text = body[:json_size]
    form = signature.forms.get((text, max_rows))
    if form is not None and len(body) - json_size == form.size:
        return _filled(form, body, json_size)
    reader = _Reader(body, json_size, b"true" in text or b"false" in text)
    document = envelope.parse(text, signature.where)
    request = envelope.read(document, signature, max_rows, reader.take)
    if reader.offset != len(body):
        raise MalformedBody(
            f"{signature.where}: got {len(body) - reader.offset} bytes after the last tensor, "
            "wanted none. Make the binary_data_size of the inputs add up to the body."
        )
    # A form knows nothing of an order of features.
    plain = request.id is None and b'"features"' not in text
    if plain and len(reader.parts) == len(signature.inputs):
        signature.remember((text, max_rows), Form(tuple(reader.parts), request))
    return request


def _filled(form: Form, body: bytes, start: int) -> InferRequest:
    """The request that a known header makes of these bytes; only their values are looked at."""
    inputs = {}
    for slot, shape, size in form.parts:
        inputs[slot.name] = _view(slot, body, start, size, shape)
        start += size
    return InferRequest(None, inputs, form.outputs, form.parameters)


class _Reader:
    """Takes one input after the other from the body, from JSON or from the bytes."""

    __slots__ = ("body", "booleans", "offset", "parts")

    def __init__(self, body: bytes, offset: int, booleans: bool) -> None:
        self.body = body
        self.offset = offset
        self.booleans = booleans
        #: inputs that came as bytes: what each is, its shape and size in bytes
        self.parts: list[tuple[Slot, tuple[int, ...], int]] = []

    def take(self, slot: Slot, tensor: dict[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if tensor.get("parameters") is None:
            return take_json(self.booleans, slot, tensor, shape)
        parameters = envelope.parameters_of(tensor, slot.where, "parameters")
        if "binary_data_size" not in parameters:
            return take_json(self.booleans, slot, tensor, shape)
        size = parameters["binary_data_size"]
        left = len(self.body) - self.offset
        if type(size) is not int or not 0 <= size <= left:
            slot.refuse(
                f"has binary_data_size {shown(size)}",
                f"0 to {left}, the bytes left in the body",
                "Send every tensor whole, in the order of 'inputs'.",
            )
        if "data" in tensor:
            slot.refuse("has both data and binary_data_size", "one of them", "Leave one away.")
        start = self.offset
        self.offset += size
        self.parts.append((slot, shape, size))
        return _view(slot, self.body, start, size, shape)


def _view(slot: Slot, body: bytes, start: int, size: int, shape: tuple[int, ...]) -> NDArray[Any]:
    count = elements(shape)
    if slot.datatype == "BYTES":
        return _strings(slot, body, start, size, count).reshape(shape)
    itemsize = slot.dtype.itemsize
    if size != count * itemsize:
        slot.refuse(
            f"has {size} bytes",
            f"{count * itemsize} for shape {shape} in {slot.datatype}",
            "Send the tensor whole, little-endian, without padding.",
        )
    values: NDArray[Any] = np.frombuffer(body, slot.dtype, count, start)
    if not values.flags.aligned:
        # ONNX Runtime takes the pointer as it is, and typed access off alignment is
        # undefined behaviour; a copy costs far less than any graph.
        values = values.copy()
    if slot.datatype == "BOOL":
        if values.view(np.uint8).max() > 1:
            slot.refuse("has a byte that is neither 0 nor 1", "BOOL as one byte, 0 or 1")
    else:
        slot.check_values(values)
    return values.reshape(shape)


def _strings(slot: Slot, body: bytes, start: int, size: int, count: int) -> NDArray[Any]:
    # Checked before anything is made: every element takes at least its length prefix.
    if count * _LENGTH.size > size:
        slot.refuse(f"has {size} bytes", f"at least {count * _LENGTH.size} for {count} elements")
    values = np.empty(count, dtype=object)
    end = start + size
    for index in range(count):
        stop = start + _LENGTH.size
        if stop <= end:
            stop += _LENGTH.unpack_from(body, start)[0]
        if stop > end:
            slot.refuse(
                f"ends inside element {index} of {count}", "a 4-byte length before every element"
            )
        values[index] = _text(slot, body[start + _LENGTH.size : stop], index)
        start = stop
    if start != end:
        slot.refuse(f"has {end - start} bytes after element {count - 1}", "none")
    return values


def _text(slot: Slot, raw: bytes, index: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        slot.refuse(
            f"has bytes at element {index} that are not UTF-8 ({error.reason})",
            "text",
            "Encode other bytes as text, as base64 for instance.",
        )


def _raw(body: bytes, signature: Signature, max_rows: int) -> InferRequest:
    slot = signature.single()
    if not body:
        raise MalformedBody(
            f"{slot.where}: got an empty body, wanted the tensor's bytes. "
            "Send it little-endian, or send JSON with Inference-Header-Content-Length."
        )
    shape = slot.concrete(_inferred(slot, body), max_rows)
    return InferRequest(
        id=None,
        inputs={slot.name: _view(slot, body, 0, len(body), shape)},
        outputs=None,
        parameters={"binary_data_output": True},
    )


def _inferred(slot: Slot, body: bytes) -> list[int]:
    free = [axis for axis, extent in enumerate(slot.shape) if extent < 0]
    if len(free) > 1:
        slot.refuse(
            f"has {len(free)} free extents in a raw body",
            "at most one, to infer the shape",
            "Send a JSON header with the shape, and Inference-Header-Content-Length.",
        )
    fixed = elements(tuple(extent for extent in slot.shape if extent >= 0))
    count = _count(slot, body)
    if not free or fixed == 0:
        return list(slot.shape)
    if count % fixed or not count:
        slot.refuse(
            f"has {len(body)} bytes",
            f"a multiple of {fixed} elements of {slot.datatype}",
            "Send whole rows, little-endian, without padding.",
        )
    return [count // fixed if extent < 0 else extent for extent in slot.shape]


def _count(slot: Slot, body: bytes) -> int:
    """Elements in a raw body; 0 where the bytes do not come out even."""
    if slot.datatype != "BYTES":
        count, rest = divmod(len(body), slot.dtype.itemsize)
        return 0 if rest else count
    count = start = 0
    while start + _LENGTH.size <= len(body):
        start += _LENGTH.size + _LENGTH.unpack_from(body, start)[0]
        count += 1
    return count if start == len(body) else 0


def encode(
    manifest: Manifest,
    outputs: Mapping[str, NDArray[Any]],
    request: InferRequest,
    parameters: Mapping[str, Any],
) -> tuple[bytes, int]:
    """Encode an answer with the outputs that were asked for as bytes behind the JSON.

    Args:
        manifest: of the model that answered.
        outputs: arrays by name; names beyond the manifest's are welcome.
        request: says which outputs, which of them as bytes, and brings the id.
        parameters: the answer's own, JSON values.

    Returns:
        The body, and how many of its bytes are JSON (Inference-Header-Content-Length).

    Raises:
        TensorMismatch: a wanted output is missing, or cannot go in the form asked for.
    """
    names = envelope.chosen(manifest, outputs, request)
    if request.outputs is None:
        binary = set(names) if request.binary else set()
    else:
        binary = {output.name for output in request.outputs if output.binary}
    tensors: list[dict[str, Any]] = []
    buffers: list[bytes | memoryview] = []
    for name in names:
        if name in binary:
            tensor = envelope.describe(name, outputs[name])
            buffer = _buffer(name, outputs[name], tensor["datatype"])
            tensor["parameters"] = {"binary_data_size": len(buffer)}
            buffers.append(buffer)
        else:
            tensor = json_tensor(name, outputs[name])
        tensors.append(tensor)
    header = envelope.response(manifest, tensors, request, parameters)
    if b"null" in header:
        check_finite({name: outputs[name] for name in names if name not in binary})
    return b"".join([header, *buffers]), len(header)


def _buffer(name: str, values: NDArray[Any], datatype: str) -> bytes | memoryview:
    if datatype != "BYTES":
        if values.nbytes <= _COPIED:
            return values.astype(DTYPES[datatype], copy=False).tobytes()
        return np.ascontiguousarray(values, DTYPES[datatype]).reshape(-1).view(np.uint8).data
    elements: list[Any] = values.reshape(-1).tolist()
    try:
        # Bytes go as they are, UTF-8 or not: only JSON needs text.
        encoded = [e if isinstance(e, bytes) else str.encode(e, "utf-8") for e in elements]
    except (TypeError, UnicodeError):
        encoded = [text.encode("utf-8") for text in texts(name, values)]
    return b"".join([part for raw in encoded for part in (_LENGTH.pack(len(raw)), raw)])


def header_size(value: str, where: str = "request") -> int:
    """The value of Inference-Header-Content-Length as a number.

    Raises:
        MalformedBody: not decimal digits.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise MalformedBody(
            f"{where}: Inference-Header-Content-Length: got {shown(value)}, wanted the size of "
            "the JSON in bytes, as decimal digits. Send 0 for a raw body."
        )
    return int(value)
