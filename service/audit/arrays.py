"""Arrays as bytes that anyone can read again, and their digests."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.audit.canonical import Part, canonical
from service.manifest import Datatype

_DATATYPES: dict[str, Datatype] = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip


def raw_bytes(array: NDArray[Any]) -> bytes:
    """Elements in row-major order, little-endian; text as 4-byte length and UTF-8.

    Source: the Open Inference Protocol's binary tensor layout.
    """
    if array.dtype.kind in "OUS":
        parts = []
        for element in array.ravel():
            text = element if isinstance(element, bytes) else str(element).encode()
            parts.append(len(text).to_bytes(4, "little") + text)
        return b"".join(parts)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def elements(datatype: str, raw: bytes) -> list[Any]:
    """The elements that `raw_bytes` wrote, flat: numbers, booleans, or texts.

    Raises:
        ValueError: the bytes are not of this datatype.
    """
    if datatype == "BYTES":
        texts, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 4], "little")
            texts.append(raw[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return texts
    names: dict[str, str] = {known: name for name, known in _DATATYPES.items()}
    found: list[Any] = np.frombuffer(raw, np.dtype(names[datatype]).newbyteorder("<")).tolist()
    return found


def described(name: str, array: NDArray[Any], *, content: bool) -> dict[str, Any]:
    """A tensor as a record names it: name, datatype, shape, SHA-256 of `raw_bytes`.

    Args:
        name: tensor name.
        array: its value.
        content: whether to add the bytes themselves, base64.
    """
    raw = raw_bytes(array)
    entry: dict[str, Any] = {
        "name": name,
        "datatype": _datatype(array.dtype),
        "shape": list(array.shape),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    if content:
        entry["base64"] = base64.b64encode(raw).decode("ascii")
    return entry


def described_part(name: str, array: NDArray[Any], *, content: bool) -> Part:
    """What `described` says, as canonical JSON: its constant parts are made once."""
    raw = raw_bytes(array)
    before, after = _frame(name, array.dtype, array.shape)
    digest = hashlib.sha256(raw).hexdigest().encode("ascii")
    first = b'"base64":"' + base64.b64encode(raw) + b'",' if content else b""
    return Part(b"".join((b"{", first, before, digest, after)))


@lru_cache(maxsize=256)
def _frame(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """What stands before and after the digest, which comes between them by the alphabet."""
    before = canonical({"datatype": _datatype(dtype), "name": name})[1:-1]
    after = canonical({"shape": list(shape)})[1:]
    return before + b',"sha256":"', b'",' + after


@lru_cache(maxsize=64)
def _datatype(dtype: np.dtype[Any]) -> str:
    return _DATATYPES.get(dtype.name, "BYTES")


def encode_array(array: NDArray[Any]) -> bytes:
    """An array as .npy bytes (NEP 1); text arrays as fixed-width Unicode, never pickled."""
    if array.dtype.kind == "O":
        array = array.astype(np.str_)
    array = np.ascontiguousarray(array)
    return _npy_header(array.dtype.str, array.shape) + array.tobytes()


@lru_cache(maxsize=256)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The same for every input of a model, and dearer to make than to copy the array."""
    buffer = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def decode_array(content: bytes) -> NDArray[Any]:
    """The array that `encode_array` wrote; never unpickles.

    Raises:
        ValueError: not .npy bytes, or pickled objects in them.
    """
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
