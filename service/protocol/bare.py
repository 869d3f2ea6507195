"""Bare bodies: a picture, a table or a text as the whole body, decoded by the manifest.

Which of them a model takes follows from its inputs: pictures where the manifest has `media`,
`text/csv` where its one input is a table of numbers, `text/plain` where it is one string a row.
"""

from __future__ import annotations

from email.message import Message
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedBody, UnsupportedMediaType
from service.manifest import Manifest
from service.protocol import media
from service.protocol.request import InferRequest
from service.protocol.signature import signature_of
from service.protocol.tables import decode_csv, takes_table

CSV, TEXT = "text/csv", "text/plain"
#: Charset to Python's codec. No others: looking names up would keep each for good, and some of
#: Python's codecs unfold their bytes a thousandfold.
_CODECS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii",
    "iso-8859-1": "latin-1", "latin1": "latin-1", "iso-8859-15": "iso8859-15",
    "windows-1252": "cp1252", "utf-16": "utf-16", "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}  # fmt: skip
#: A byte order mark says how the text is encoded and is no part of it (RFC 3629, section 6).
_MARK: Final = "\ufeff"
_PRESENT: Final = {None: None, "present": True, "absent": False}


def content_types(manifest: Manifest) -> tuple[str, ...]:
    """Media types of bare bodies that the model takes; empty where it takes none."""
    table = (CSV,) if takes_table(manifest) else ()
    text = (TEXT,) if _takes_text(manifest) else ()
    return (*media.content_types(manifest), *table, *text)


def decode(
    body: bytes, content_type: str, manifest: Manifest, max_rows: int, max_pixels: int
) -> InferRequest:
    """Decode a bare body.

    Args:
        body: all of it.
        content_type: a `Content-Type` whose media type is one of `content_types(manifest)`.
        manifest: of the model that is asked.
        max_rows: largest batch.
        max_pixels: largest picture, width x height.

    Raises:
        MalformedBody: the bytes are not what their media type says.
        TensorMismatch: they do not fit the manifest.
        TooLarge: too many rows or pixels.
        UnsupportedMediaType: a charset that is not known here.
    """
    media_type, _, rest = content_type.partition(";")
    if media_type.strip().lower().startswith("image/"):
        assert manifest.images is not None
        pixels = media.decode_image(body, manifest.images, max_pixels)
        return InferRequest(None, {manifest.images.input: pixels}, None, {})
    parameters = _parameters(content_type) if rest else {}
    text = _text(body, parameters.get("charset", "utf-8"), manifest)
    if media_type.strip().lower() == CSV:
        inputs = decode_csv(text, manifest, max_rows, _header(parameters, manifest))
    else:
        inputs = {manifest.inputs[0].name: _one_string(text, manifest)}
    return InferRequest(None, inputs, None, {})


def _takes_text(manifest: Manifest) -> bool:
    if len(manifest.inputs) != 1 or manifest.inputs[0].datatype != "BYTES":
        return False
    rows, *rest = manifest.inputs[0].shape
    return rows in (-1, 1) and rest in ([], [1], [-1])


def _one_string(text: str, manifest: Manifest) -> NDArray[Any]:
    if not text:
        raise MalformedBody(
            f"{manifest.reference}: text/plain body: got no text, wanted some. Send v2 JSON if the "
            "empty string is what you mean."
        )
    slot = signature_of(manifest).single()
    return np.array([text], dtype=object).reshape((1,) * len(slot.shape))


def _parameters(content_type: str) -> dict[str, str]:
    """Parameters of a media type by lower-case name (RFC 9110, section 5.6.6).

    Raises:
        MalformedBody: one stands twice.
    """
    message = Message()
    message["content-type"] = content_type
    pairs = [(name.lower(), str(value)) for name, value in message.get_params([])[1:]]
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise MalformedBody(f"Content-Type: got {content_type!r:.120}, wanted each parameter once.")
    return parameters


def _header(parameters: dict[str, str], manifest: Manifest) -> bool | None:
    said = parameters.get("header")
    try:
        return _PRESENT[said.lower() if said is not None else None]
    except KeyError:
        raise MalformedBody(
            f"{manifest.reference}: Content-Type: header: got {said!r:.40}, wanted 'present' or "
            "'absent' (RFC 4180), or none."
        ) from None


def _text(body: bytes, charset: str, manifest: Manifest) -> str:
    codec = _CODECS.get(charset.lower())
    if codec is None:
        raise UnsupportedMediaType(
            f"{manifest.reference}: Content-Type: charset: got {charset!r:.40}, wanted one of "
            f"{', '.join(_CODECS)}."
        )
    try:
        return body.decode(codec).removeprefix(_MARK)
    except UnicodeDecodeError as error:
        raise MalformedBody(
            f"{manifest.reference}: request body: byte {error.start} is no {charset.lower()} "
            f"({error.reason}). Send UTF-8, or say the charset in Content-Type."
        ) from None
