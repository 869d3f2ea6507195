"""Request bodies to inference requests: which codec, bounded how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from service.errors import UnsupportedMediaType
from service.inference.registry import LoadedModel
from service.protocol import bare, binary_codec, json_codec, v1
from service.protocol.compression import inflated
from service.protocol.request import InferRequest
from service.protocol.signature import signature_of
from service.routes.exchange import Exchange
from service.routes.reply import JSON
from service.routes.task_routes import refuse_elsewhere, routes_of, wants_picture
from service.settings import Settings

#: Says where the JSON ends and the binary tensors begin (Open Inference Protocol).
BINARY_HEADER = "inference-header-content-length"
_BINARY_FIELD = BINARY_HEADER.encode()
OCTETS = "application/octet-stream"
#: What `curl -d` says unless told otherwise; the body decides.
FORM = "application/x-www-form-urlencoded"
#: What a JSON body may call itself, besides whatever ends in "+json".
JSON_TYPES = ("", JSON, FORM)
#: Bodies up to here are decoded on the event loop: a thread hop would cost more.
INLINE_BYTES = 32 * 1024
#: A picture unfolds a thousandfold at most: two megapixels, and most are far from that.
INLINE_PICTURE_BYTES = 2048
#: A table costs some ten times what as many bytes of JSON do.
INLINE_TABLE_BYTES = 4096


async def plain_body(exchange: Exchange, settings: Settings) -> bytes:
    """The request body, inflated.

    Raises:
        TooLarge, MalformedBody, UnsupportedMediaType, BodyTimeout, ClientGone.
    """
    body = await exchange.body(settings.max_body_bytes, settings.body_timeout_s)
    if encoding := exchange.headers.get(b"content-encoding"):
        body = inflated(body, encoding.decode("latin-1"), settings.max_body_bytes)
    return body


async def infer_request(
    exchange: Exchange, model: LoadedModel, settings: Settings, *, version_1: bool = False
) -> InferRequest:
    """The inference request of a body, decoded and valid for the model.

    Args:
        exchange: the HTTP request.
        model: the model that is asked.
        settings: limits.
        version_1: whether a JSON body is KServe's V1 form.

    Raises:
        InvalidRequest: whatever is wrong with it.
    """
    body = await plain_body(exchange, settings)
    return await request_of(exchange, body, model, settings, version_1=version_1)


async def request_of(
    exchange: Exchange,
    body: bytes,
    model: LoadedModel,
    settings: Settings,
    *,
    version_1: bool = False,
) -> InferRequest:
    """The inference request of a body that was read and inflated; see `infer_request`."""
    seen = wants_picture(exchange.header(b"accept"))
    query = exchange.query()
    refuse_elsewhere(query, model.manifest)
    own = routes_of(model.manifest)

    def decode() -> InferRequest:
        request = decoded(exchange.headers, body, model, settings, version_1=version_1)
        if own is None:
            return request
        # What stands in the query string wins over what stands in the body.
        request.parameters = {**request.parameters, **query}
        return own.asked(request, model, settings.max_batch_rows, seen=seen)

    return decode() if is_quick(exchange.headers, body) else await asyncio.to_thread(decode)


def is_quick(headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Whether a body may be decoded on the event loop.

    Numbers in text and pictures take milliseconds by the megabyte, and everybody else would
    wait meanwhile; binary tensors are taken as they are.
    """
    if _BINARY_FIELD in headers:
        return True
    kind = headers.get(b"content-type", b"")[:8].lower()
    if kind[:6] == b"image/":
        return len(body) <= INLINE_PICTURE_BYTES
    return len(body) <= (INLINE_TABLE_BYTES if kind == b"text/csv" else INLINE_BYTES)


def decoded(
    headers: Mapping[bytes, bytes],
    body: bytes,
    model: LoadedModel,
    settings: Settings,
    *,
    version_1: bool = False,
) -> InferRequest:
    """The inference request of a body that has arrived; see `infer_request`."""
    start = time.perf_counter()
    request = _decoded(headers, body, model, settings, version_1)
    if model.session.preparation is not None:
        request.inputs = model.admit(request.inputs)
    model.metrics.preprocess(time.perf_counter() - start)
    return request


def _decoded(
    headers: Mapping[bytes, bytes],
    body: bytes,
    model: LoadedModel,
    settings: Settings,
    version_1: bool,
) -> InferRequest:
    manifest, max_rows = model.manifest, settings.max_batch_rows
    if (json_size := headers.get(_BINARY_FIELD)) is not None:
        size = binary_codec.header_size(json_size.decode("latin-1"), manifest.name)
        return binary_codec.decode(body, size, manifest, max_rows)
    if not body and signature_of(manifest).takes_nothing:
        return InferRequest(None, {}, None, {})
    given = headers.get(b"content-type", b"").decode("latin-1")
    content_type = given.partition(";")[0].strip().lower()
    if content_type in JSON_TYPES or content_type.endswith("+json"):
        codec = v1.decode if version_1 else json_codec.decode
        return codec(body, manifest, max_rows)
    taken = bare.content_types(manifest)
    if content_type in taken:
        return bare.decode(body, given, manifest, max_rows, settings.max_image_pixels)
    if content_type == OCTETS:
        return binary_codec.decode(body, 0, manifest, max_rows)
    raise UnsupportedMediaType(
        f"{manifest.name}: Content-Type: got '{content_type}', wanted "
        f"{', '.join((JSON, *taken, OCTETS))}."
    )
