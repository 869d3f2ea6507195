"""Where the log's private key is, and that it is the one that the log is signed with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.audit.keys import PublicKey, SigningKey
from service.errors import KeyRefused
from service.settings import Settings

#: PEM in the environment, for platforms whose secrets come that way.
VARIABLE: Final = "GLASSLINE_SIGNING_KEY"


class Keyholder:
    """Brings the private half of a log's key.

    It is in the environment variable GLASSLINE_SIGNING_KEY, else in the file that the settings
    name, else in the home's `keys` folder, where the first start makes one.

    Args:
        folder: of keys that Glassline made.
        file: of a key that the operator made; None to keep keys in the folder.
        environment: where the variable is looked for.
    """

    def __init__(
        self, folder: Path, file: Path | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._folder = folder
        self._file = file
        self._environment = environment

    @classmethod
    def of(cls, settings: Settings) -> Keyholder:
        """Where the settings say."""
        file = Path(settings.signing_key_file) if settings.signing_key_file else None
        return cls(settings.root / "keys", file)

    def fresh(self, origin: str) -> SigningKey:
        """The key that the operator has put there, or a new one: for a new log or a rotation.

        Raises:
            KeyRefused: it cannot be read, or others may read it.
        """
        if key := self._given(origin):
            return key
        private = Ed25519PrivateKey.generate()
        key = SigningKey(origin, private)
        return SigningKey.create(self._path(key.public), origin, private)

    def private(self, public: PublicKey) -> SigningKey:
        """The private half of this key.

        Raises:
            KeyRefused: it is not here, or others may read it.
        """
        key = self._given(public.name) or self._kept(public)
        if key.public != public:
            raise KeyRefused(
                f"signing key: the log '{public.name}' is signed with key {public.keyid[:16]}, but "
                f"{self._where()} holds {key.public.keyid[:16]}. Put the right key there, or run: "
                "glassline audit keys rotate"
            )
        return key

    def _given(self, origin: str) -> SigningKey | None:
        """What the operator has put there, if anything."""
        if self._environment.get(VARIABLE):
            return SigningKey.from_environment(VARIABLE, origin, self._environment)
        if self._file is not None:
            return SigningKey.from_file(self._file, origin)
        return None

    def _kept(self, public: PublicKey) -> SigningKey:
        path = self._path(public)
        if not path.exists():
            raise KeyRefused(
                f"signing key: the log '{public.name}' is signed with key {public.keyid[:16]}, "
                f"which is not at {path}. Machines that share a record store need the same key: "
                f"copy the file, or give it in {VARIABLE} or GLASSLINE_SIGNING_KEY_FILE. If it is "
                "lost, run: glassline audit keys rotate"
            )
        return SigningKey.from_file(path, public.name)

    def _where(self) -> str:
        return VARIABLE if self._environment.get(VARIABLE) else str(self._file)

    def _path(self, public: PublicKey) -> Path:
        return self._folder / f"{public.keyid[:16]}.pem"
