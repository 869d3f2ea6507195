"""Bare bodies: which a model takes, in which charset, and nothing but what was sent."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import GlasslineError, MalformedBody, UnsupportedMediaType
from service.manifest import Manifest, Tensor
from service.protocol import bare
from tests.protocol.manifests import ALL, SERIES, SINGLE, TINY, manifest


def model(
    datatype: str, shape: tuple[int, ...], features: tuple[str, ...] | None = None
) -> Manifest:
    tensor = Tensor.model_validate(
        {"name": "x", "datatype": datatype, "shape": shape, "features": features}
    )
    return manifest("words", [tensor], [Tensor(name="p", datatype="FP32", shape=(-1, 2))])


WORD, LINE = model("BYTES", (-1, 1)), model("BYTES", (-1,))
COLUMN = model("FP32", (-1, 1), ("Länge",))


def decoded(body: bytes, content_type: str, of: Manifest) -> object:
    request = bare.decode(body, content_type, of, max_rows=4, max_pixels=100)
    (array,) = request.inputs.values()
    return array.tolist()


def test_what_a_model_takes_follows_from_its_inputs() -> None:
    assert bare.content_types(TINY) == ("image/png", "image/jpeg")
    assert bare.content_types(SINGLE["FP32"]) == bare.content_types(COLUMN) == ("text/csv",)
    assert bare.content_types(WORD) == bare.content_types(LINE) == ("text/plain",)
    # Several inputs, two strings a row, truth values.
    for of in (ALL, SERIES, SINGLE["BYTES"], SINGLE["BOOL"]):
        assert bare.content_types(of) == ()


@given(st.text(min_size=1).filter(lambda said: not said.startswith("\ufeff")))
def test_plain_text_goes_in_unchanged(said: str) -> None:
    assert decoded(said.encode(), "text/plain", WORD) == [[said]]
    assert decoded(said.encode(), "text/plain; charset=UTF-8", LINE) == [said]


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("utf-8", b"Pr\xc3\xbcfling \xe2\x82\xac"),
        ('"UTF-8"', b"\xef\xbb\xbfPr\xc3\xbcfling \xe2\x82\xac"),
        ("iso-8859-15", b"Pr\xfcfling \xa4"),
        ("Windows-1252", b"Pr\xfcfling \x80"),
        ("utf-16", "Prüfling €".encode("utf-16")),
        ("utf-16le", "Prüfling €".encode("utf-16-le")),
        ("utf-16be", "\ufeffPrüfling €".encode("utf-16-be")),
    ],
)
def test_the_charset_is_honoured_and_its_mark_taken_off(charset: str, body: bytes) -> None:
    assert decoded(body, f"text/plain; charset={charset}", LINE) == ["Prüfling €"]


def test_charset_and_header_of_a_table() -> None:
    body = "Länge\n1\n2\n"
    latin = 'Text/CSV; charset="iso-8859-1"; header=Present'
    assert decoded(body.encode("latin-1"), latin, COLUMN) == [[1], [2]]
    assert decoded(b"\xef\xbb\xbf" + body.encode(), "text/csv", COLUMN) == [[1], [2]]
    assert decoded(b"1\n2\n", "text/csv;header=absent", COLUMN) == [[1], [2]]


@pytest.mark.parametrize(
    ("body", "content_type", "kind", "said"),
    [
        (b"", "text/plain", MalformedBody, "got no text"),
        (b"caf\xe9", "text/plain", MalformedBody, "byte 3 is no utf-8"),
        (b"caf\xe9", "text/plain; charset=us-ascii", MalformedBody, "byte 3 is no us-ascii"),
        (b"a\0b", "text/plain; charset=utf-16", MalformedBody, "is no utf-16"),
        (b"x", "text/plain; charset=klingon", UnsupportedMediaType, "'klingon', wanted one of utf"),
        (b"x", "text/plain; charset=zlib", UnsupportedMediaType, "'zlib', wanted one of utf-8"),
        (b"x", "text/plain; charset=utf-8; CharSet=ascii", MalformedBody, "each parameter once"),
        (b"1", "text/csv; header=maybe", MalformedBody, "got 'maybe', wanted 'present' or"),
    ],
)
def test_what_is_wrong_is_said(
    body: bytes, content_type: str, kind: type[GlasslineError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        decoded(body, content_type, COLUMN if "csv" in content_type else WORD)


@given(st.binary(max_size=60), st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_any_bytes_under_any_parameters_are_answered_or_refused(body: bytes, said: str) -> None:
    for media_type, of in (("text/plain", WORD), ("text/csv", COLUMN)):
        with contextlib.suppress(GlasslineError):
            decoded(body, f"{media_type};{said}", of)
