"""Keys of a log that come and go, each time with a record that says so."""

from __future__ import annotations

from datetime import UTC, datetime

from service.audit.keyholder import Keyholder
from service.audit.keys import WITNESS_TYPE, PublicKey
from service.audit.keyset import KeySet
from service.audit.log_writer import LogWriter
from service.audit.record import build, new_id, timestamp
from service.errors import InvalidParameter


class KeyChanges:
    """Changes the key set of a log, beside whoever appends to it meanwhile.

    Args:
        log: whose keys.
        keyholder: of its private keys.
        person: who does it; it goes into the record.
    """

    def __init__(self, log: LogWriter, keyholder: Keyholder, person: str) -> None:
        self._log = log
        self._keyholder = keyholder
        self._person = person

    def rotate(self) -> KeySet:
        """Sign with a new key from here on; the one before counts for all that is there.

        Raises:
            KeyRefused: no new key can be had.
        """
        keys = self._log.change_keys(self._rotated)
        self._record("rotated", keys.active().keyid, None)
        return keys

    def revoke(self, keyid: str, since: int | None, reason: str) -> KeySet:
        """Believe a key no more; another becomes active where it was.

        Args:
            keyid: which; its first 8 digits or more.
            since: place of the first record that it is not believed on; None = all that is
                there is believed.
            reason: for those who read the key set.

        Raises:
            KeyRefused: there is no such key.
            InvalidParameter: several begin so, or the log has no such size.
        """

        def change(keys: KeySet, size: int) -> KeySet:
            named = [key for key in keys.keys if key.keyid.startswith(keyid)]
            if len(keyid) < 8 or len(named) > 1:
                raise InvalidParameter(f"keys: '{keyid}' names no one key; give more digits.")
            if since is not None and not 0 <= since <= size:
                raise InvalidParameter(f"keys: since {since}, but the log has {size} records.")
            whole = named[0].keyid if named else keyid
            if named and named[0].status == "active":
                keys = self._rotated(keys, size)
            until = size if since is None else since
            return keys.revoked(whole, until, datetime.now(UTC), reason)

        keys = self._log.change_keys(change)
        self._record("revoked", keyid, reason)
        return keys

    def trust(self, vkey: str) -> KeySet:
        """Take cosignatures of this witness.

        Raises:
            KeyRefused: it is no verifier key of a witness.
        """
        witness = PublicKey.from_vkey(vkey, WITNESS_TYPE)
        keys = self._log.change_keys(lambda keys, _: keys.with_witness(witness))
        self._record("witness", witness.keyid, None)
        return keys

    def _rotated(self, keys: KeySet, size: int) -> KeySet:
        fresh = self._keyholder.fresh(keys.origin).public
        return keys.rotated(fresh, size, datetime.now(UTC))

    def _record(self, event: str, keyid: str, reason: str | None) -> None:
        moment = datetime.now(UTC)
        said = {
            "started_at": timestamp(moment),
            "caller": self._person,
            "event": event,
            "keyid": keyid,
            "reason": reason,
        }
        columns = {"decision": event, "caller": self._person[:256]}
        self._log.append([build("key", new_id(), moment, said, columns)])
