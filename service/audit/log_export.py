"""A whole log in a folder that proves itself to a stranger."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from service.audit import verify
from service.audit.bundle import verifier_source
from service.audit.checkpoint import Checkpoint, SignedNote
from service.audit.envelope import Envelope
from service.audit.keyset import KeySet
from service.errors import StoreError

_README: Final = """\
Log {origin}: {size} records
{rule}

To verify it you need Python 3.9 or newer with nothing installed, and OpenSSL 3.0 or newer:

    python3 verify.py                    all records, their order and number, and the checkpoints
    python3 verify.py --signatures all   the signature of each record as well, milliseconds each

records.ndjson     one record a line, RFC 8785 canonical JSON: the leaves of an RFC 9162 tree
envelopes.ndjson   if there: for each line of records.ndjson its in-toto statement in DSSE
checkpoint         the size and root of the tree, a C2SP tlog-checkpoint
checkpoints/       if there: earlier ones, which this log must continue
keys.json          the log's public keys, and up to which size of the log each counts
SHA256SUMS         digests of all other files: sha256sum -c SHA256SUMS
"""


def export_log(
    folder: Path,
    records: Iterable[tuple[bytes, Envelope | None]],
    checkpoint: SignedNote,
    keys: KeySet,
    earlier: Iterable[SignedNote] = (),
) -> None:
    """Write a log into an empty folder.

    Args:
        folder: made where it is not there.
        records: canonical bytes of each record in order, as many as the checkpoint says, with
            its envelope; all have one or none has.
        checkpoint: of this size.
        keys: of the log.
        earlier: checkpoints of smaller sizes.

    Raises:
        StoreError: the folder is not empty or cannot be written.
        EvidenceError: a checkpoint is none.
    """
    said = Checkpoint.parse(checkpoint.text)
    title = f"Log {said.origin}: {said.size} records"
    small = {
        "README.txt": _README.format(
            origin=said.origin, size=said.size, rule="=" * len(title)
        ).encode(),
        "checkpoint": str(checkpoint).encode(),
        "keys.json": keys.to_json(),
        "verify.py": verifier_source(),
    }
    for note in earlier:
        small[f"checkpoints/{Checkpoint.parse(note.text).size:012}"] = str(note).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"log export: {folder} is not empty; choose a new folder.")
        digests = _write_records(folder, records)
        for name, content in small.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
            digests[name] = sha256(content).hexdigest()
        # Last, so that an export that was cut short is none.
        (folder / verify.SUMS).write_bytes(verify.sums(digests))
    except OSError as error:
        raise StoreError(f"log export: {folder} cannot be written ({error}).") from None


def _write_records(
    folder: Path, records: Iterable[tuple[bytes, Envelope | None]]
) -> dict[str, str]:
    bodies, envelopes = folder / "records.ndjson", folder / "envelopes.ndjson"
    with bodies.open("wb") as lines, envelopes.open("wb") as signed:
        first, second = _Hashed(lines), _Hashed(signed)
        for body, envelope in records:
            first.write(body + b"\n")
            if envelope is not None:
                second.write(envelope.to_json() + b"\n")
    digests = {bodies.name: first.hexdigest()}
    if second.empty:
        envelopes.unlink()
    else:
        digests[envelopes.name] = second.hexdigest()
    return digests


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = sha256()
        self.empty = True

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.empty = False

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
