"""The keys that ever signed for a log, and how long each may be believed.

A key's time is counted in records and not in hours: a thief can turn back a clock, but cannot
put a record before others that are in the log already.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.audit.canonical import canonical
from service.audit.keys import WITNESS_TYPE, PublicKey
from service.audit.record import timestamp
from service.errors import EvidenceError, KeyRefused

SCHEMA: Final = "glassline.keys/1"


class Key(BaseModel):
    """A public key of the log.

    `until_size` counts records: a retired or revoked key's signature counts on those that were
    in the log before. A retired key's checkpoints up to that size go on counting; a revoked
    one's do not, for whoever stole it can sign any number of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyid: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    public_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
    status: Literal["active", "retired", "revoked"] = "active"
    created_at: str
    ended_at: str | None = None
    until_size: Annotated[int, Field(ge=0)] | None = None
    reason: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Annotated[Literal["glassline.keys/1"], Field(alias="schema")]
    origin: str
    keys: tuple[Key, ...]
    #: Witnesses that the operator asks, one verifier key each (C2SP, type 0x04).
    witnesses: tuple[str, ...] = ()


class KeySet:
    """All keys of one log.

    Args:
        origin: the log's name, which all its keys bear.
        keys: oldest first; one may be active.
        witnesses: who cosigns its checkpoints.

    Raises:
        KeyRefused: a key is not what its id says, or stands there twice, or two are active.
    """

    def __init__(
        self, origin: str, keys: tuple[Key, ...], witnesses: tuple[PublicKey, ...] = ()
    ) -> None:
        self.origin = origin
        self.keys = keys
        self.witnesses = witnesses
        self._public = {key.keyid: _public(origin, key) for key in keys}
        self._by_id = {key.keyid: key for key in keys}
        if len(self._by_id) != len(keys):
            raise KeyRefused(f"keys of '{origin}': a key stands there twice.")
        if len([key for key in keys if key.status == "active"]) > 1:
            raise KeyRefused(f"keys of '{origin}': more than one is active; retire the others.")

    @classmethod
    def of(cls, key: PublicKey, created_at: datetime) -> KeySet:
        """The set of a new log with its first key."""
        return cls(key.name, (_entry(key, created_at),))

    @classmethod
    def from_json(cls, content: bytes) -> KeySet:
        """The set that `to_json` wrote.

        Raises:
            KeyRefused: it is none.
        """
        try:
            file = _File.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"])
            raise KeyRefused(f"key set: {at}: {first['msg']}.") from None
        witnesses = tuple(PublicKey.from_vkey(text, WITNESS_TYPE) for text in file.witnesses)
        return cls(file.origin, file.keys, witnesses)

    @classmethod
    def read(cls, path: Path) -> KeySet:
        """The set in a file.

        Raises:
            KeyRefused: it cannot be read, or is none.
        """
        try:
            return cls.from_json(path.read_bytes())
        except OSError as error:
            raise KeyRefused(f"key set {path}: cannot be read ({error.strerror}).") from None

    def to_json(self) -> bytes:
        """Canonical JSON; public keys only, so that it can be handed to anybody."""
        return canonical(
            {
                "schema": SCHEMA,
                "origin": self.origin,
                "keys": [key.model_dump() for key in self.keys],
                "witnesses": [w.vkey(WITNESS_TYPE) for w in self.witnesses],
            }
        )

    def write(self, path: Path) -> None:
        """Put it into a file, whole or not at all.

        Raises:
            KeyRefused: it cannot be written.
        """
        try:
            replace_file(path, self.to_json(), 0o644)
        except OSError as error:
            raise KeyRefused(f"key set {path}: cannot be written ({error.strerror}).") from None

    def active(self) -> PublicKey:
        """The key that signs now.

        Raises:
            KeyRefused: none does.
        """
        for key in self.keys:
            if key.status == "active":
                return self._public[key.keyid]
        raise KeyRefused(f"keys of '{self.origin}': none is active; create one and rotate to it.")

    def rotated(self, key: PublicKey, size: int, at: datetime) -> KeySet:
        """The set in which `key` signs from now on, and the one before is retired.

        Args:
            key: of the same log.
            size: records in the log now; the key before counts for these.
            at: now.

        Raises:
            KeyRefused: it is there already, or of another log.
        """
        if key.name != self.origin:
            raise KeyRefused(f"keys of '{self.origin}': a key of '{key.name}' cannot sign for it.")
        ended = {"status": "retired", "until_size": size, "ended_at": timestamp(at)}
        kept = [k.model_copy(update=ended) if k.status == "active" else k for k in self.keys]
        return KeySet(self.origin, (*kept, _entry(key, at)), self.witnesses)

    def revoked(self, keyid: str, size: int, at: datetime, reason: str) -> KeySet:
        """The set in which a key is not believed any more, but for records already in the log.

        Args:
            keyid: which.
            size: records in the log when it was last known to be in nobody else's hands.
            at: now.
            reason: for those who read the set.

        Raises:
            KeyRefused: there is no such key.
        """
        if keyid not in self._by_id:
            raise KeyRefused(f"keys of '{self.origin}': none has the id {keyid[:80]}.")
        before = self._by_id[keyid].until_size
        ended = {
            "status": "revoked",
            "until_size": size if before is None else min(size, before),
            "ended_at": timestamp(at),
            "reason": reason,
        }
        kept = [k.model_copy(update=ended) if k.keyid == keyid else k for k in self.keys]
        return KeySet(self.origin, tuple(kept), self.witnesses)

    def with_witness(self, witness: PublicKey) -> KeySet:
        """The set that also names this witness."""
        others = tuple(w for w in self.witnesses if w != witness)
        return KeySet(self.origin, self.keys, (*others, witness))

    def for_record(self, keyid: str, index: int) -> PublicKey:
        """The key that signed the record at `index` of the log, if it may be believed there.

        Raises:
            EvidenceError: there is none of this id, or it had ended before.
        """
        key = self._by_id.get(keyid)
        if key is None:
            raise EvidenceError(f"envelope: key {keyid[:80]} is none of '{self.origin}'.")
        if key.until_size is not None and index >= key.until_size:
            raise EvidenceError(
                f"envelope: key {keyid} was {key.status} when the log had {key.until_size} "
                f"records; it cannot have signed record {index}."
            )
        return self._public[keyid]

    def for_checkpoint(self, size: int) -> list[PublicKey]:
        """The keys whose signature counts on a checkpoint of this size."""
        return [
            self._public[key.keyid]
            for key in self.keys
            if key.status == "active"
            or (key.status == "retired" and (key.until_size is None or size <= key.until_size))
        ]


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put bytes into a file durably; whoever reads it sees the old ones or the new ones.

    Raises:
        OSError: they cannot be written; the old ones stand.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _entry(key: PublicKey, created_at: datetime) -> Key:
    return Key(
        keyid=key.keyid,
        public_key=base64.b64encode(key.raw).decode("ascii"),
        created_at=timestamp(created_at),
    )


def _public(origin: str, key: Key) -> PublicKey:
    public = PublicKey(origin, base64.b64decode(key.public_key))
    if public.keyid != key.keyid:
        raise KeyRefused(
            f"keys of '{origin}': key {key.keyid} is in truth {public.keyid}; a byte was changed."
        )
    return public
