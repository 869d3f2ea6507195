"""Open Inference Protocol v2 datatypes and the numpy dtypes that carry them.

Source: https://github.com/kserve/open-inference-protocol, "Tensor Data Types".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch

#: v2 name -> dtype. Little-endian, as the binary extension puts tensors on the wire.
#: BYTES are object arrays of `str`: ONNX strings are UTF-8.
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}

#: Datatypes that JSON has no number for; the protocol allows them as bytes only.
BINARY_ONLY: Final = frozenset({"FP16", "BF16"})

_NAMES: Final[dict[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(name: str, array: NDArray[Any]) -> str:
    """The v2 name of output `name`'s dtype; object and string arrays are BYTES.

    Raises:
        TensorMismatch: no v2 datatype carries this dtype (complex, dates, records).
    """
    datatype = _NAMES.get(array.dtype)
    if datatype is None:
        kind = array.dtype.kind
        datatype = "BYTES" if kind in "US" else _NAMES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise TensorMismatch(
            f"output '{name}' has dtype {array.dtype}, wanted one of {', '.join(DTYPES)}. "
            "Let the task or the graph cast it."
        )
    return datatype


def texts(name: str, array: NDArray[Any]) -> list[str]:
    """The elements of BYTES output `name` in row-major order.

    Args:
        name: for the error message.
        array: object or string array of any shape; elements `str` or UTF-8 `bytes`.

    Raises:
        TensorMismatch: an element is neither, or is no UTF-8 text.
    """
    elements: list[Any] = array.reshape(-1).tolist()
    try:
        # A lone surrogate is a str that no UTF-8 can carry.
        "".join(elements).encode("utf-8")
    except (TypeError, UnicodeError):
        return _decoded(name, elements)
    return elements


def _decoded(name: str, elements: list[Any]) -> list[str]:
    try:
        for index, element in enumerate(elements):
            if isinstance(element, bytes):
                elements[index] = element.decode("utf-8")
            else:
                str.encode(element, "utf-8")
    except (TypeError, UnicodeError) as error:
        raise TensorMismatch(
            f"output '{name}' has {element!r:.40} at element {index}, wanted text as str or "
            f"UTF-8 bytes ({error}). Let the task convert it."
        ) from None
    return elements
