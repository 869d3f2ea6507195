"""A record's signature: an in-toto statement about it in a DSSE envelope.

Sources: in-toto Attestation Framework, Statement v1; DSSE v1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from service.audit.canonical import canonical
from service.audit.keys import PublicKey, SigningKey
from service.audit.record import SCHEMA, Record
from service.errors import EvidenceError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
#: Names what the predicate says; nothing needs to answer there.
PREDICATE_TYPE: Final = "https://github.com/glassline/glassline/record/v1"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with signatures of its type and bytes.

    Args:
        payload: the statement, JSON.
        signatures: key ids and what these keys made, 64 bytes each.
        payload_type: what the payload is.
    """

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    payload_type: str = PAYLOAD_TYPE

    def to_json(self) -> bytes:
        """Canonical JSON, as DSSE lays it out."""
        return canonical(
            {
                "payload": base64.b64encode(self.payload).decode("ascii"),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")}
                    for keyid, signature in self.signatures
                ],
            }
        )

    @classmethod
    def from_json(cls, content: bytes) -> Envelope:
        """The envelope in these bytes; members that DSSE does not know are ignored, as it says.

        Raises:
            EvidenceError: they are none.
        """
        try:
            said = json.loads(content)
            payload = _decoded(said["payload"])
            signatures = tuple(
                (str(s.get("keyid") or ""), _decoded(s["sig"])) for s in said["signatures"]
            )
            payload_type = said["payloadType"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EvidenceError(
                f"envelope: not as DSSE lays it out ({type(error).__name__}: {error}); wanted "
                '{"payload": base64, "payloadType": text, "signatures": [{"keyid", "sig"}]}.'
            ) from None
        if not isinstance(payload_type, str) or not signatures:
            raise EvidenceError("envelope: no payload type, or nobody signed it.")
        return cls(payload, signatures, payload_type)

    def verify(self, key: PublicKey) -> None:
        """Check that this key signed it.

        Raises:
            EvidenceError: it did not.
        """
        message = pae(self.payload_type, self.payload)
        claimed = [signature for keyid, signature in self.signatures if keyid == key.keyid]
        if not claimed:
            raise EvidenceError(f"envelope: not signed by key {key.keyid}.")
        if not any(key.verify(signature, message) for signature in claimed):
            raise EvidenceError(
                f"envelope: the signature of key {key.keyid} does not hold: the payload, its type "
                "or the signature was changed."
            )

    def verify_record(self, key: PublicKey, body: bytes) -> None:
        """Check that this key signed a statement about exactly this record.

        Args:
            key: whose signature counts.
            body: the record's canonical bytes.

        Raises:
            EvidenceError: it did not.
        """
        self.verify(key)
        digest = hashlib.sha256(body).hexdigest()
        try:
            said = json.loads(self.payload)
            sound = said["_type"] == STATEMENT_TYPE and said["predicateType"] == PREDICATE_TYPE
            digests = [subject["digest"]["sha256"] for subject in said["subject"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            sound, digests = False, []
        if not sound or self.payload_type != PAYLOAD_TYPE or len(digests) != 1:
            raise EvidenceError("envelope: what was signed is no statement about a record.")
        if digests != [digest]:
            raise EvidenceError(
                f"envelope: signed for a record with SHA-256 {digests[0]}, got one with {digest}."
            )


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: type and payload, each with its length, so that neither can run over.

    Source: DSSE v1.0, pre-authentication encoding.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(record_id: str, kind: str, body: bytes) -> bytes:
    """What is said of a record: canonical JSON that follows from it, so none need be kept.

    Args:
        record_id: its id.
        kind: prediction, explanation and so on.
        body: its canonical bytes, of which the SHA-256 is stated.
    """
    digest = hashlib.sha256(body).hexdigest()
    if _PLAIN.fullmatch(record_id) and _PLAIN.fullmatch(kind):
        return _FORM % (record_id.encode(), kind.encode(), digest.encode(), record_id.encode())
    return canonical(_said(record_id, kind, digest))


def _said(record_id: str, kind: str, digest: str) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"records/{record_id}", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"schema": SCHEMA, "id": record_id, "kind": kind},
    }


#: Text that stands in JSON as it is, and all statements about records of such an id and kind:
#: one is made with every record, and this is ten times faster than to serialise it.
_PLAIN = re.compile(r"[a-z0-9-]*")
_FORM: Final = canonical(_said("%b", "%b", "%b"))


def sign(record_id: str, kind: str, body: bytes, key: SigningKey) -> bytes:
    """The signature of a record's statement, 64 bytes: with it goes the key's id."""
    return key.sign(pae(PAYLOAD_TYPE, statement(record_id, kind, body)))


def signed(record: Record, key: SigningKey) -> Envelope:
    """A record's statement, signed."""
    signature = sign(record.id, record.kind, record.body, key)
    return restored(record.id, record.kind, record.body, key.public.keyid, signature)


def restored(record_id: str, kind: str, body: bytes, keyid: str, signature: bytes) -> Envelope:
    """The envelope of a record of which only the signature was kept.

    Args:
        record_id: its id.
        kind: its kind.
        body: its canonical bytes.
        keyid: of the key that signed.
        signature: 64 bytes.
    """
    return Envelope(statement(record_id, kind, body), ((keyid, signature),))


def _decoded(text: Any) -> bytes:
    """Base64, standard or URL-safe: DSSE allows both."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
