"""API keys and what each may do. Keys are shown once and kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import Forbidden, InvalidParameter, StoreError, Unauthenticated

#: How long a process goes on with the keys it has read, in seconds.
REREAD_SECONDS = 1.0
Mode = Literal["auto", "keys", "open"]


class Scope(StrEnum):
    """What a key may be used for."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    AUDIT = "audit"
    REVIEW = "review"
    ADMIN = "admin"


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    #: Of a key with 256 random bits: nothing slower is needed, for nothing can be guessed.
    sha256: str
    scopes: frozenset[Scope]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[_Key, ...] = ()


class Keyring:
    """The API keys of a home.

    Args:
        file: where they are kept, readable by its owner alone.
        mode: `keys` wants one from everybody; `open` from nobody; `auto` from everybody as
            soon as there is one, and until then only lets callers on this machine in.
    """

    def __init__(self, file: Path, mode: Mode = "auto") -> None:
        self._file = file
        self._mode: Mode = mode
        self._keys: tuple[_Key, ...] = ()
        self._read_at = float("-inf")

    @property
    def open_to_all(self) -> bool:
        """Whether nobody is asked for a key, wherever they are."""
        return self._mode == "open"

    def caller(self, presented: str | None, scope: Scope, address: str) -> str:
        """Who is calling: the key's name, or the address where no key is needed.

        Args:
            presented: the key of the request, if it brought one.
            scope: what the request wants to do.
            address: the peer's.

        Raises:
            Unauthenticated: no key, or none that is known.
            Forbidden: the key has not this scope.
        """
        if self._mode == "open":
            return address
        keys = self._current()
        if self._mode == "auto" and not keys:
            if is_loopback(address):
                return address
            raise Unauthenticated(
                "this server has no API keys yet, and so answers callers on its own machine only. "
                "Make one there: glassline keys create NAME --scope predict"
            )
        key = self._matching(keys, presented)
        if scope not in key.scopes:
            raise Forbidden(
                f"API key '{key.name}' has the scopes {', '.join(sorted(key.scopes))}; "
                f"this needs '{scope}'."
            )
        return key.name

    def _matching(self, keys: Collection[_Key], presented: str | None) -> _Key:
        if not presented:
            raise Unauthenticated(
                "no API key. Send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'."
            )
        digest = hashlib.sha256(presented.encode()).hexdigest()
        # All keys are compared, each in constant time: the time taken says nothing.
        found = [key for key in keys if hmac.compare_digest(key.sha256, digest)]
        if not found:
            raise Unauthenticated("the API key is unknown or was revoked.")
        return found[0]

    def create(self, name: str, scopes: Collection[Scope]) -> str:
        """Make a key; it is returned here and never shown again.

        Raises:
            InvalidParameter: the name is taken or empty, or there is no scope.
        """
        keys = self._reread()
        if not name or not name.isprintable() or len(name) > 64:
            raise InvalidParameter(f"API key: name: got '{name}', wanted 1 to 64 letters.")
        if name in {key.name for key in keys}:
            raise InvalidParameter(f"API key: the name '{name}' is taken; revoke it first.")
        if not scopes:
            raise InvalidParameter("API key: give it at least one scope: predict, explain, ...")
        token = f"glassline_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        self._write((*keys, _Key(name=name, sha256=digest, scopes=frozenset(scopes))))
        return token

    def revoke(self, name: str) -> None:
        """Forget a key; running servers follow within a second.

        Raises:
            InvalidParameter: there is no key of this name.
        """
        keys = self._reread()
        if name not in {key.name for key in keys}:
            raise InvalidParameter(f"API key: there is none named '{name}'.")
        self._write(tuple(key for key in keys if key.name != name))

    def list(self) -> list[tuple[str, list[str]]]:
        """(name, scopes) of every key."""
        return [(key.name, sorted(key.scopes)) for key in self._reread()]

    def _current(self) -> tuple[_Key, ...]:
        now = time.monotonic()
        if now - self._read_at > REREAD_SECONDS:
            self._reread()
        return self._keys

    def _reread(self) -> tuple[_Key, ...]:
        try:
            self._keys = _File.model_validate_json(self._file.read_bytes()).keys
        except FileNotFoundError:
            self._keys = ()
        except ValidationError:
            raise StoreError(f"{self._file}: is not a file of API keys. Restore it.") from None
        self._read_at = time.monotonic()
        return self._keys

    def _write(self, keys: tuple[_Key, ...]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(_File(keys=keys).model_dump_json(indent=1))
        fresh.replace(self._file)
        self._keys = keys


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a host is this machine: a loopback address, `localhost`, or a Unix socket."""
    if host in ("localhost", "local", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
