"""What others say of the log: cosignatures of witnesses, time-stamps; kept beside it."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from service.audit.checkpoint import Checkpoint, SignedNote
from service.audit.keys import LOG_TYPE, WITNESS_TYPE
from service.audit.log import AuditLog
from service.audit.schema import checkpoints
from service.audit.store import RecordStore
from service.errors import EvidenceError, Forbidden


def take_cosigned(store: RecordStore, note: SignedNote) -> SignedNote:
    """Keep a checkpoint that a witness has cosigned.

    Args:
        store: of the log.
        note: the checkpoint with the log's signature and the cosignatures.

    Returns:
        The note as it is kept: with the cosignatures that it had before.

    Raises:
        EvidenceError: it is no checkpoint of this log, or a signature does not hold.
        InvalidParameter: the log never had this size.
        Forbidden: none who cosigned is a witness that this log knows.
    """
    log = AuditLog(store)
    keys, said = log.keys(), Checkpoint.parse(note.text)
    if said.origin != keys.origin or said.root != log.root(said.size):
        raise EvidenceError(
            f"cosignature: of '{said.origin[:80]}' with {said.size} records; this log is "
            f"'{keys.origin}', and its root at this size is another."
        )
    signing = [key for key in keys.for_checkpoint(said.size) if note.signed_by(key)]
    if not signing:
        raise EvidenceError("cosignature: the log's own signature is missing in the note.")
    witnesses = [w for w in keys.witnesses if note.cosigned_by(w) is not None]
    if not witnesses:
        raise Forbidden(
            "cosignature: by none of this log's witnesses. Its operator names one with: "
            "glassline audit keys trust VKEY"
        )
    wanted = {(key.name, key.note_id(LOG_TYPE)) for key in signing}
    wanted |= {(w.name, w.note_id(WITNESS_TYPE)) for w in witnesses}
    kept = [s for s in note.signatures if (s.name, s.key_id) in wanted]
    return _keep(store, said.size, SignedNote(note.text, tuple(kept)))


def keep_stamped(store: RecordStore, note: SignedNote, token: bytes) -> None:
    """Keep a checkpoint's time-stamp, an RFC 3161 TimeStampResp in DER.

    Raises:
        EvidenceError: the note is no checkpoint.
    """
    size = Checkpoint.parse(note.text).size
    _keep(store, size, note)
    with store.writing() as connection:
        at = checkpoints.c.size == size
        connection.execute(update(checkpoints).where(at).values(timestamp_token=token))


def _keep(store: RecordStore, size: int, note: SignedNote) -> SignedNote:
    with store.writing() as connection:
        at = checkpoints.c.size == size
        before = connection.execute(select(checkpoints.c.note).where(at)).scalar()
        if before is None:
            connection.execute(insert(checkpoints).values(size=size, note=str(note)))
            return note
        note = SignedNote.parse(before.encode()).with_signatures(note.signatures)
        connection.execute(update(checkpoints).where(at).values(note=str(note)))
        return note
