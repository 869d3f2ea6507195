"""Ed25519 keys: one that signs, and the set of those that ever did.

Private keys are PKCS#8 and public keys SubjectPublicKeyInfo, as `openssl` reads and writes them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from service.errors import KeyRefused

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
#: C2SP signed-note signature types: of the log itself, and of a witness (cosignature/v1).
LOG_TYPE: Final = 0x01
WITNESS_TYPE: Final = 0x04
#: What stands before the 32 bytes of an Ed25519 public key in DER (RFC 8410).
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
#: Names of keys: no white space and no plus (C2SP signed-note), and no control characters.
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f\u200b\ufeff]{1,255}")


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with.

    Args:
        name: whose it is: the log's origin, or the witness's name; a schema-less URL.
        raw: 32 bytes (RFC 8032).

    Raises:
        KeyRefused: the name or the length is wrong.
    """

    name: str
    raw: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise KeyRefused(
                f"key name '{self.name[:80]}': must have 1 to 255 characters, no white space and "
                "no '+', for example glassline.example/line-3."
            )
        if len(self.raw) != KEY_BYTES:
            raise KeyRefused(
                f"public key of '{self.name}': {len(self.raw)} bytes; Ed25519 has {KEY_BYTES}."
            )

    @cached_property
    def keyid(self) -> str:
        """SHA-256 of the key in DER, 64 hexadecimal digits: names it in envelopes."""
        return hashlib.sha256(self.der()).hexdigest()

    def note_id(self, kind: int) -> bytes:
        """The 4 bytes that name it in signed notes.

        Source: C2SP signed-note, `kind` one of its signature types.
        """
        said = self.name.encode() + b"\n" + bytes([kind]) + self.raw
        return hashlib.sha256(said).digest()[:4]

    def vkey(self, kind: int) -> str:
        """The key in one line, `name+id+base64`, as C2SP tools take it."""
        material = base64.b64encode(bytes([kind]) + self.raw).decode("ascii")
        return f"{self.name}+{self.note_id(kind).hex()}+{material}"

    @classmethod
    def from_vkey(cls, text: str, kind: int) -> PublicKey:
        """The key of such a line.

        Raises:
            KeyRefused: it is none, or of another type, or its id is not its own.
        """
        name, *rest = text.strip().split("+", 2)
        try:
            material = base64.b64decode(rest[1], validate=True)
        except (ValueError, IndexError):
            raise KeyRefused(
                f"verifier key '{text[:80]}': not of the form name+id+base64."
            ) from None
        if not material or material[0] != kind:
            raise KeyRefused(
                f"verifier key '{text[:80]}': signature type {material[:1].hex() or 'none'}, "
                f"wanted {kind:02x}."
            )
        key = cls(name, material[1:])
        if key.vkey(kind) != text.strip():
            raise KeyRefused(
                f"verifier key '{text[:80]}': its id should be {key.note_id(kind).hex()}; "
                "a character was changed."
            )
        return key

    def der(self) -> bytes:
        """SubjectPublicKeyInfo, 44 bytes."""
        return _SPKI + self.raw

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this key signed exactly this message."""
        try:
            self._loaded.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _loaded(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


class SigningKey:
    """A key that signs; it never shows itself.

    Args:
        name: the log's origin, or the witness's name.
        private: the key.
    """

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(name, private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message (RFC 8032)."""
        return self._private.sign(message)

    @classmethod
    def create(cls, path: Path, name: str, private: Ed25519PrivateKey | None = None) -> SigningKey:
        """Make a key and keep it in a new file that its owner alone can read.

        Args:
            path: of the file.
            name: the log's origin, or the witness's name.
            private: a key that was made already.

        Raises:
            KeyRefused: there is a file already, or it cannot be written.
        """
        private = private or Ed25519PrivateKey.generate()
        key = cls(name, private)
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(pem)
                out.flush()
                os.fsync(file)
        except FileExistsError:
            raise KeyRefused(
                f"signing key {path}: there is one already, and records are signed with it. "
                "Choose another file, then rotate to it."
            ) from None
        except OSError as error:
            raise KeyRefused(f"signing key {path}: cannot be written ({error}).") from None
        return key

    @classmethod
    def from_file(cls, path: Path, name: str) -> SigningKey:
        """The key in a file.

        Raises:
            KeyRefused: others than its owner may read it, or it holds no Ed25519 key.
        """
        try:
            # Looked at and read through one handle: no other file can come between.
            # A pipe is refused and not waited for.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise KeyRefused(f"signing key {path}: is no ordinary file.")
                mode = stat.S_IMODE(status.st_mode)
                if mode & 0o077:
                    raise KeyRefused(
                        f"signing key {path}: mode {mode:04o} lets others read or change it; "
                        f"wanted 0600. Run: chmod 600 {path}, and if others may have read it, "
                        "revoke it and create another."
                    )
                if status.st_uid not in (os.geteuid(), 0):
                    raise KeyRefused(
                        f"signing key {path}: belongs to user {status.st_uid}, who can change it; "
                        f"Glassline runs as user {os.geteuid()}. Run: chown {os.geteuid()} {path}."
                    )
                content = file.read(65_536)
        except OSError as error:
            raise KeyRefused(
                f"signing key {path}: cannot be read ({error.strerror or error})."
            ) from None
        return cls(name, _private(f"signing key {path}", content))

    @classmethod
    def from_environment(
        cls, variable: str, name: str, environment: Mapping[str, str]
    ) -> SigningKey:
        r"""The key in an environment variable: PEM, its lines parted by newlines or by `\n`.

        Raises:
            KeyRefused: the variable is not set, or holds no Ed25519 key.
        """
        text = environment.get(variable, "").strip()
        if not text:
            raise KeyRefused(f"signing key: the environment variable {variable} is not set.")
        content = text.replace("\\n", "\n").encode("utf-8", "replace")
        return cls(name, _private(f"signing key in {variable}", content))


def _private(where: str, content: bytes) -> Ed25519PrivateKey:
    """The key, without a word of it in any message."""
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise KeyRefused(
            f"{where}: is encrypted; a server has nobody to ask for the password."
        ) from None
    except ValueError:
        raise KeyRefused(
            f"{where}: holds no private key in PEM. Make one with: "
            "openssl genpkey -algorithm ed25519"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyRefused(
            f"{where}: is a {type(private).__name__.removesuffix('PrivateKey')} key, wanted "
            "Ed25519. Make one with: openssl genpkey -algorithm ed25519"
        )
    return private
