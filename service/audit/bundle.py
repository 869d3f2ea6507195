"""All evidence of one record in one file, which proves itself to a stranger."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from service.audit import verify
from service.audit.canonical import canonical
from service.audit.checkpoint import Checkpoint, SignedNote
from service.audit.envelope import Envelope
from service.audit.keyset import KeySet
from service.audit.merkle_proof import verify_inclusion
from service.audit.record import timestamp
from service.errors import CorruptLog, EvidenceError

_SUFFIXES: Final[Mapping[str, str]] = {
    "application/json": ".json",
    "application/x-npy": ".npy",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "text/csv": ".csv",
    "text/plain": ".txt",
}
_README: Final = """\
Evidence of one record
======================

Record     {id}
Kind       {kind}
SHA-256    {digest}
Log        {origin}
Place      {index}, counted from 0, of {size} records

To verify it you need Python 3.9 or newer with nothing installed, and OpenSSL 3.0 or newer:

    python3 verify.py

It says what it proved and what it cannot prove, and exits with 0, with 1 if something is not as
it was, and with 2 if it could not look. Take verify.py from Glassline's source if you do not
trust the one in here: python3 /your/verify.py this-folder-or-zip

It proves more if you tell it what you know from elsewhere:

    --key ID          the log's key, as its operator publishes it
    --witness VKEY    an outside witness who must have cosigned the checkpoint
    --seen FILE       a checkpoint that you kept from before

What is in here
---------------

record.json     the record, RFC 8785 canonical JSON; its bytes are the leaf of the log's tree
envelope.json   who signed it: an in-toto statement about its digest in a DSSE envelope, Ed25519
proof.json      where it is in the log: an RFC 9162 inclusion proof, its nodes in base64
checkpoint      what the log's root is: a C2SP tlog-checkpoint, signed by the log and its witnesses
keys.json       the log's public keys, and up to which size of the log each counts
payloads.json   for each input and artifact its file and salt; SHA-256(salt || file) is the
                commitment in record.json
payloads/       the inputs and artifacts that are neither erased nor left out; a .npy begins with a
                line of text that says type and shape, then come the values (NumPy, NEP 1)
SHA256SUMS      digests of all other files: sha256sum -c SHA256SUMS
"""


@dataclass(frozen=True, slots=True)
class Present:
    """A payload that goes into the bundle.

    Args:
        name: as the record calls it.
        content: its bytes.
        salt: with which the record committed to it.
    """

    name: str
    content: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Erased:
    """A payload that is not there any more."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Withheld:
    """A payload that this reader does not get."""

    name: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind a record.

    Args:
        body: the record's canonical bytes.
        envelope: who signed it.
        index: its place in the log, from 0.
        path: inclusion proof in the tree of the checkpoint's size.
        checkpoint: of the log, signed and perhaps cosigned.
        keys: of the log.
        payloads: one for each that the record names, in its order.
    """

    body: bytes
    envelope: Envelope
    index: int
    path: Sequence[bytes]
    checkpoint: SignedNote
    keys: KeySet
    payloads: Sequence[Present | Erased | Withheld]


def bundle(evidence: Evidence) -> bytes:
    """A zip that `verify.py`, which is in it, verifies.

    The same evidence makes the same bytes.

    Raises:
        CorruptLog: the evidence does not hold; no bundle is made that would say so later.
    """
    record: dict[str, Any] = orjson.loads(evidence.body)
    checkpoint = check(evidence)
    listed, contents = _payloads(record, evidence.payloads)
    proof = {
        "schema": verify.PROOF_SCHEMA,
        "leaf_index": evidence.index,
        "tree_size": checkpoint.size,
        "path": [base64.b64encode(node).decode("ascii") for node in evidence.path],
    }
    readme = _README.format(
        id=record["id"],
        kind=record["kind"],
        digest=sha256(evidence.body).hexdigest(),
        origin=checkpoint.origin,
        index=evidence.index,
        size=checkpoint.size,
    )
    files = {
        "README.txt": readme.encode(),
        "checkpoint": str(evidence.checkpoint).encode(),
        "envelope.json": evidence.envelope.to_json(),
        "keys.json": evidence.keys.to_json(),
        "payloads.json": canonical(listed),
        "proof.json": canonical(proof),
        "record.json": evidence.body,
        "verify.py": verifier_source(),
        **contents,
    }
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    return verify.pack({**files, verify.SUMS: verify.sums(digests)})


def verifier_source() -> bytes:
    """The verifier that is shipped with evidence."""
    return Path(verify.__file__).read_bytes()


def check(evidence: Evidence) -> Checkpoint:
    """The checkpoint, if all parts belong together.

    Raises:
        CorruptLog: the evidence does not hold.
    """
    record: dict[str, Any] = orjson.loads(evidence.body)
    try:
        return _checked(evidence, record)
    except EvidenceError as error:
        raise CorruptLog(f"evidence of record {record['id']}: {error}") from None


def _checked(evidence: Evidence, record: Mapping[str, Any]) -> Checkpoint:
    checkpoint = Checkpoint.parse(evidence.checkpoint.text)
    verify_inclusion(evidence.body, evidence.index, checkpoint.size, evidence.path, checkpoint.root)
    if not any(map(evidence.checkpoint.signed_by, evidence.keys.for_checkpoint(checkpoint.size))):
        raise EvidenceError(
            "the checkpoint is signed by no key that counts at its size; sign the log's present "
            "size with the active key."
        )
    keyid = evidence.envelope.signatures[0][0]
    key = evidence.keys.for_record(keyid, evidence.index)
    evidence.envelope.verify_record(key, evidence.body)
    committed = {p["name"]: p["commitment"] for p in record["payloads"]}
    if [p.name for p in evidence.payloads] != list(committed):
        raise EvidenceError(f"the record has payloads {list(committed)}.")
    for payload in evidence.payloads:
        if isinstance(payload, Present):
            digest = sha256(payload.salt + payload.content).hexdigest()
            if digest != committed[payload.name]:
                raise EvidenceError(f"payload '{payload.name}' is not what was committed to.")
    return checkpoint


def _payloads(
    record: Mapping[str, Any], payloads: Sequence[Present | Erased | Withheld]
) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """What `payloads.json` says, and the files."""
    listed: list[dict[str, str]] = []
    files: dict[str, bytes] = {}
    for number, (said, payload) in enumerate(zip(record["payloads"], payloads, strict=True)):
        entry = {"name": payload.name}
        if isinstance(payload, Present):
            # Names are the model's tensors' and may hold what no file's name can.
            file = f"payloads/{number:02}{_SUFFIXES.get(said['media_type'], '.bin')}"
            files[file] = payload.content
            entry |= {"state": "present", "file": file, "salt": payload.salt.hex()}
        elif isinstance(payload, Erased):
            entry |= {"state": "erased", "at": timestamp(payload.at)}
        else:
            entry |= {"state": "withheld"}
        listed.append(entry)
    return listed, files
