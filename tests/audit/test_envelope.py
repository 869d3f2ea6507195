"""Envelopes are what securesystemslib signs and verifies, and hold for one record only."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as UpstreamEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from service.audit.envelope import Envelope, pae, restored, sign, signed, statement
from service.audit.keys import PublicKey, SigningKey
from service.audit.record import Payload, build, new_id
from service.errors import EvidenceError
from tests.audit.openssl import openssl_verifies

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = SigningKey("glassline.example/line-3", PRIVATE)
RECORD = build(
    "prediction",
    new_id(),
    datetime.now(UTC),
    {"number": 0.1, "text": "Prüfling Ω"},
    {},
    (Payload("image", "image/png", b"\x89PNG"),),
)


def upstream_key(key: PublicKey) -> SSlibKey:
    value = {"public": key.raw.hex()}
    return SSlibKey(key.keyid, "ed25519", "ed25519", value)


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    """DSSE v1.0 protocol.md, test vector."""
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_securesystemslib_verifies_our_envelope() -> None:
    read = UpstreamEnvelope.from_dict(json.loads(signed(RECORD, KEY).to_json()))
    key = upstream_key(KEY.public)
    assert read.verify([key], 1) == {KEY.public.keyid: key}
    read.payload += b" "
    with pytest.raises(VerificationError):
        read.verify([key], 1)


def test_we_verify_securesystemslibs_envelope_and_make_the_same_signature() -> None:
    theirs = UpstreamEnvelope(
        statement(RECORD.id, RECORD.kind, RECORD.body), "application/vnd.in-toto+json", {}
    )
    theirs.sign(CryptoSigner(PRIVATE, upstream_key(KEY.public)))
    read = Envelope.from_json(json.dumps(theirs.to_dict()).encode())
    read.verify_record(KEY.public, RECORD.body)
    assert read == signed(RECORD, KEY)


def test_openssl_verifies_our_envelope() -> None:
    envelope = signed(RECORD, KEY)
    message = pae(envelope.payload_type, envelope.payload)
    assert openssl_verifies(KEY.public.der(), envelope.signatures[0][1], message)


def test_the_statement_names_the_record_and_its_digest() -> None:
    said = json.loads(signed(RECORD, KEY).payload)
    assert said == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": f"records/{RECORD.id}",
                "digest": {"sha256": hashlib.sha256(RECORD.body).hexdigest()},
            }
        ],
        "predicateType": "https://github.com/glassline/glassline/record/v1",
        "predicate": {"schema": "glassline.record/1", "id": RECORD.id, "kind": "prediction"},
    }


def test_an_envelope_follows_from_the_record_and_its_signature() -> None:
    signature = sign(RECORD.id, RECORD.kind, RECORD.body, KEY)
    again = restored(RECORD.id, RECORD.kind, RECORD.body, KEY.public.keyid, signature)
    assert again.to_json() == signed(RECORD, KEY).to_json()
    assert Envelope.from_json(again.to_json()) == again


@given(data=st.data())
def test_no_changed_byte_is_believed(data: st.DataObject) -> None:
    written = signed(RECORD, KEY).to_json()
    place = data.draw(st.integers(0, len(written) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(written)
    changed[place] ^= 1 << bit
    try:
        read = Envelope.from_json(bytes(changed))
        read.verify_record(KEY.public, RECORD.body)
    except EvidenceError:
        return
    # Base64 has characters whose last bits nobody reads: the envelope is the same one.
    assert read == signed(RECORD, KEY)


def test_an_envelope_is_for_one_record_and_one_key() -> None:
    envelope = signed(RECORD, KEY)
    envelope.verify_record(KEY.public, RECORD.body)
    with pytest.raises(EvidenceError, match="signed for a record with SHA-256"):
        envelope.verify_record(KEY.public, RECORD.body + b" ")
    other = SigningKey("glassline.example/line-3", Ed25519PrivateKey.generate()).public
    with pytest.raises(EvidenceError, match="not signed by key"):
        envelope.verify(other)
    forged = Envelope(envelope.payload, ((KEY.public.keyid, bytes(64)),))
    with pytest.raises(EvidenceError, match="does not hold"):
        forged.verify(KEY.public)


def test_a_statement_about_something_else_is_no_record() -> None:
    for payload in (b"{}", b"[]", b"\xff", statement("a", "b", b"").replace(b"/v1", b"/v9")):
        signature = KEY.sign(pae("application/vnd.in-toto+json", payload))
        envelope = Envelope(payload, ((KEY.public.keyid, signature),))
        with pytest.raises(EvidenceError, match="no statement about a record"):
            envelope.verify_record(KEY.public, b"")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b"\xff", b"[" * 10_000,
        b'{"payload":"","payloadType":"t","signatures":[]}',
        b'{"payload":"","payloadType":1,"signatures":[{"sig":""}]}',
        b'{"payload":"!","payloadType":"t","signatures":[{"sig":""}]}',
        b'{"payload":null,"payloadType":"t","signatures":[{"sig":""}]}',
        b'{"payload":"","payloadType":"t","signatures":["x"]}',
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(EvidenceError, match="envelope"):
        Envelope.from_json(content)


def test_unknown_members_and_url_safe_base64_are_read_as_dsse_says() -> None:
    said = json.loads(signed(RECORD, KEY).to_json())
    said["more"] = 1
    said["signatures"][0]["sig"] = said["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    assert Envelope.from_json(json.dumps(said).encode()) == signed(RECORD, KEY)
