"""gzip and deflate bodies, both ways, bounded before they are inflated (RFC 9110, 8.4.1)."""

from __future__ import annotations

import zlib

from service.errors import MalformedBody, TooLarge, UnsupportedMediaType

#: zlib's window bits: +32 finds gzip and zlib headers by itself, -15 is deflate without one.
_ANY_HEADER, _NO_HEADER = 47, -15
#: Smaller answers are not worth the time.
SMALLEST = 16 * 1024
ENCODINGS = ("gzip", "deflate")


def inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """A body as it was before its content encoding.

    Args:
        body: as received.
        encoding: value of Content-Encoding; empty or `identity` changes nothing.
        limit: most bytes that may come out; no more are ever produced.

    Raises:
        UnsupportedMediaType: an encoding other than gzip, deflate and identity.
        MalformedBody: the body is not of this encoding, or cut off.
        TooLarge: it inflates to more than `limit` bytes.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise UnsupportedMediaType(
            f"Content-Encoding: got '{encoding[:40]}', wanted gzip, deflate or identity."
        )
    try:
        return _inflate(body, _ANY_HEADER, limit)
    except zlib.error as error:
        if encoding == "deflate":
            try:  # some clients send deflate without the zlib header that the RFC asks for
                return _inflate(body, _NO_HEADER, limit)
            except zlib.error:
                pass
        raise MalformedBody(
            f"request body: is not {encoding} as Content-Encoding says ({error})."
        ) from None


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    machine = zlib.decompressobj(window_bits)
    plain = machine.decompress(body, limit + 1)
    if len(plain) > limit:
        raise TooLarge(
            f"request body: inflates to more than {limit} bytes. Send smaller batches, or raise "
            "GLASSLINE_MAX_BODY_BYTES."
        )
    if not machine.eof or machine.unused_data:
        raise MalformedBody(
            "request body: its compressed data is cut off, or something follows it."
        )
    return plain


def deflated(body: bytes, encoding: str) -> bytes:
    """A body in this content encoding, `gzip` or `deflate`; fast rather than small."""
    machine = zlib.compressobj(1, wbits={"gzip": 31, "deflate": 15}[encoding])
    return machine.compress(body) + machine.flush()
