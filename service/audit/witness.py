"""An outside witness: signs a log's checkpoint only if the log continues what it saw before.

It needs nothing of the log's operator but the address, and keeps its key and its memory in a
folder of its own. Source: C2SP tlog-witness, tlog-cosignature.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from service.audit.checkpoint import Checkpoint, SignedNote, cosign
from service.audit.keys import WITNESS_TYPE, SigningKey
from service.audit.keyset import KeySet, replace_file
from service.audit.merkle_proof import verify_consistency
from service.errors import EvidenceError, KeyRefused, StoreError

#: Nodes of a consistency proof between any two sizes that can be.
_MOST_NODES: Final = 130


class Server(Protocol):
    """The log's server, as a witness asks it."""

    def checkpoint(self) -> bytes:
        """The newest checkpoint."""
        ...

    def keys(self) -> bytes:
        """The log's key set."""
        ...

    def consistency(self, old: int, new: int) -> Mapping[str, Any]:
        """What shows that the log of size `new` continues that of size `old`."""
        ...

    def take(self, note: bytes) -> None:
        """Take a cosigned checkpoint."""
        ...


class Fork(EvidenceError):
    """The log does not continue what the witness saw: it was rewritten, or has shrunk."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one look.

    Args:
        size: records under the checkpoint.
        before: records under the one before; None at the first look.
        note: the checkpoint with the log's signature and this witness's.
    """

    size: int
    before: int | None
    note: SignedNote


class Witness:
    """Looks at one log.

    Args:
        folder: of its key and of what it has seen; made where it is not there.
        name: of a new witness, a URL without its scheme.
        keyid: of the log's key as its operator publishes it; None to believe the key that the
            server names first, and from then on.

    Raises:
        KeyRefused: its key cannot be used, or it has another name.
    """

    def __init__(self, folder: Path, name: str, keyid: str | None = None) -> None:
        self._folder = folder
        self._keyid = keyid
        path = folder / "key.pem"
        named = folder / "name"
        if named.exists():
            name = named.read_text().strip()
        else:
            replace_file(named, f"{name}\n".encode(), 0o644)
        self._key = SigningKey.from_file(path, name) if path.exists() else None
        if self._key is None:
            self._key = SigningKey.create(path, name)

    @property
    def vkey(self) -> str:
        """What the log's operator names this witness by."""
        assert self._key is not None
        return self._key.public.vkey(WITNESS_TYPE)

    def look(self, server: Server) -> Seen:
        """Ask for the checkpoint, check that it continues the last one, cosign and remember it.

        Raises:
            Fork: it does not; both notes are kept in the folder.
            EvidenceError: what the server says is malformed, or signed by none of its keys.
            KeyRefused: the server's keys are not those that were known.
        """
        keys = self._believed(KeySet.from_json(server.keys()))
        note = SignedNote.parse(server.checkpoint())
        said = Checkpoint.parse(note.text)
        if said.origin != keys.origin:
            raise EvidenceError(
                f"witness: the checkpoint is of '{said.origin[:80]}', not of '{keys.origin}'."
            )
        if not any(map(note.signed_by, keys.for_checkpoint(said.size))):
            raise EvidenceError("witness: the checkpoint is signed by none of the log's keys.")
        before = self._last()
        if before is not None:
            self._check(server, before, note)
        assert self._key is not None
        note = note.with_signatures([cosign(note, self._key, int(time.time()))])
        # Remembered before it is handed out: what it has signed it never forgets.
        replace_file(self._folder / "checkpoint", str(note).encode(), 0o644)
        replace_file(self._folder / "keys.json", keys.to_json(), 0o644)
        server.take(str(note).encode())
        size = None if before is None else Checkpoint.parse(before.text).size
        return Seen(said.size, size, note)

    def _believed(self, keys: KeySet) -> KeySet:
        """The server's keys, if they are those that were believed, or follow from them."""
        active = keys.active().keyid
        if self._keyid is not None and active != self._keyid:
            raise KeyRefused(f"witness: the log signs with key {active}, not with {self._keyid}.")
        known = self._folder / "keys.json"
        if not known.exists():
            return keys
        before = KeySet.read(known)
        if before.origin != keys.origin:
            raise KeyRefused(
                f"witness: this folder remembers '{before.origin}', but the server has "
                f"'{keys.origin}'. Use a folder for each log."
            )
        if missing := {key.keyid for key in before.keys} - {key.keyid for key in keys.keys}:
            raise KeyRefused(
                f"witness: the log does not name its key {missing.pop()} any more; a key that has "
                "ended stays in the key set. Ask its operator."
            )
        return keys

    def _last(self) -> SignedNote | None:
        path = self._folder / "checkpoint"
        try:
            return SignedNote.parse(path.read_bytes())
        except FileNotFoundError:
            return None
        except EvidenceError as error:
            raise StoreError(
                f"witness: {path} was damaged ({error}); restore it. Without it this witness "
                "cannot say that the log continues what it saw."
            ) from None

    def _check(self, server: Server, before: SignedNote, note: SignedNote) -> None:
        old, new = Checkpoint.parse(before.text), Checkpoint.parse(note.text)
        try:
            if new.size < old.size:
                raise EvidenceError(
                    f"the log had {old.size} records and now has {new.size}: it has shrunk."
                )
            path = []
            if 0 < old.size < new.size:
                path = _nodes(server.consistency(old.size, new.size))
            verify_consistency(old.size, old.root, new.size, new.root, path)
        except EvidenceError as error:
            kept = self._keep_both(before, note)
            raise Fork(
                f"witness: {error} It is not cosigned. Both checkpoints, each signed by the log, "
                f"are kept in {kept}: show them to whoever relies on this log."
            ) from None

    def _keep_both(self, before: SignedNote, note: SignedNote) -> Path:
        folder = self._folder / f"fork-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        replace_file(folder / "seen-before", str(before).encode(), 0o644)
        replace_file(folder / "seen-now", str(note).encode(), 0o644)
        return folder


def _nodes(said: Mapping[str, Any]) -> list[bytes]:
    try:
        path = [base64.b64decode(node, validate=True) for node in said["path"][:_MOST_NODES]]
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError):
        raise EvidenceError("the server answers no consistency proof.") from None
    return path
