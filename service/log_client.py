"""The client of a witness: checkpoint, keys and proofs of a running server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.client import Client


class LogClient(Client):
    """Asks one server about its log; see `Client`, and `service.audit.witness.Server`."""

    def checkpoint(self) -> bytes:
        """The log's newest signed checkpoint."""
        return self._response("GET", "/audit/checkpoint").content

    def keys(self) -> bytes:
        """The log's key set."""
        return self._response("GET", "/audit/keys").content

    def consistency(self, old: int, new: int) -> Mapping[str, Any]:
        """What shows that the log of size `new` continues that of size `old`."""
        asked = {"from": old, "to": new}
        said: Mapping[str, Any] = self._json("GET", "/audit/proof/consistency", params=asked)
        return said

    def take(self, note: bytes) -> None:
        """Hand in a cosigned checkpoint."""
        headers = {"content-type": "text/plain; charset=utf-8"}
        self._response("POST", "/audit/cosignatures", content=note, headers=headers)
