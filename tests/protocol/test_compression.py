"""Compressed bodies: what clients send comes out, and a bomb does not."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import GlasslineError, MalformedBody, TooLarge, UnsupportedMediaType
from service.protocol.compression import deflated, inflated


def raw_deflate(body: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(body) + machine.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP ", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
)
@given(body=st.binary(max_size=500))
def test_what_was_compressed_comes_out(encoding: str, compress: object, body: bytes) -> None:
    assert inflated(compress(body), encoding, 500) == body  # type: ignore[operator]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_we_compress_any_client_can_read(encoding: str) -> None:
    body = b"0123456789" * 5000
    assert zlib.decompress(deflated(body, encoding), 47) == body


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        inflated(bomb, "gzip", 1000)


def test_the_limit_itself_is_allowed() -> None:
    assert inflated(gzip.compress(bytes(1000)), "gzip", 1000) == bytes(1000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        gzip.compress(b"x" * 100, mtime=0)[:-9],
        gzip.compress(b"x", mtime=0) + b"more",
    ],
)
def test_damaged_bodies_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        inflated(body, "gzip", 1000)


def test_other_encodings_are_named() -> None:
    with pytest.raises(UnsupportedMediaType, match="'br'.*gzip, deflate"):
        inflated(b"", "br", 1000)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_give_bytes_or_an_error_of_ours(body: bytes, encoding: str) -> None:
    try:
        assert len(inflated(body, encoding, 1000)) <= 1000
    except GlasslineError:
        pass
