"""What the log says of itself at a size, in a note that it and its witnesses sign.

Sources: C2SP signed-note, tlog-checkpoint and tlog-cosignature (`cosignature/v1`, Ed25519).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.audit.keys import LOG_TYPE, SIGNATURE_BYTES, WITNESS_TYPE, PublicKey, SigningKey
from service.audit.merkle import HASH_BYTES
from service.errors import EvidenceError

#: A note that is longer, or has more signatures, is none of a log that anybody runs.
MAX_NOTE_BYTES: Final = 1 << 18
MAX_SIGNATURES: Final = 64
_DASH: Final = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
#: Names of keys have neither white space nor plus.
_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The root of a log at a size.

    Args:
        origin: the log's name.
        size: records in it.
        root: 32 bytes.
        extensions: further lines; ours has none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """What is signed: each line ends in a newline."""
        root = base64.b64encode(self.root).decode("ascii")
        return "".join(f"{x}\n" for x in (self.origin, self.size, root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text is.

        Raises:
            EvidenceError: it is none.
        """
        *lines, end = text.split("\n")
        if end or len(lines) < 3 or not all(lines):
            raise EvidenceError(
                f"checkpoint: {len(lines)} lines; wanted the origin, the size, the root and no "
                "empty line, each ended by a newline."
            )
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise EvidenceError(f"checkpoint: size '{size[:40]}' is no decimal number.")
        return cls(origin, int(size), _hash(root), tuple(extensions))


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line of a note.

    Args:
        name: of the key.
        key_id: 4 bytes.
        signature: what the key made; its form depends on its type.
    """

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in the note, its newline included."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """The signature in a line, with or without its newline.

        Raises:
            EvidenceError: it is none.
        """
        found = _LINE.fullmatch(line.removesuffix("\n"))
        if found is None:
            raise EvidenceError(f"signed note: '{line[:80]!s}' is no signature line.")
        content = _decoded("signed note: signature", found[2])
        if len(content) <= 4:
            raise EvidenceError(f"signed note: the signature of {found[1][:80]} is empty.")
        return cls(found[1], content[:4], content[4:])


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text with its signatures.

    Signatures of keys that nobody asks for are kept and mean nothing.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(s.line() for s in self.signatures)}"

    @classmethod
    def parse(cls, content: bytes) -> SignedNote:
        """The note in these bytes; `str(note).encode()` gives the same bytes again.

        Raises:
            EvidenceError: they are none.
        """
        if len(content) > MAX_NOTE_BYTES:
            raise EvidenceError(
                f"signed note: {len(content)} bytes; at most {MAX_NOTE_BYTES} are read."
            )
        try:
            whole = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise EvidenceError(f"signed note: byte {error.start} is not UTF-8.") from None
        if found := _CONTROL.search(whole):
            raise EvidenceError(f"signed note: a control character at {found.start()}.")
        text, parting, rest = whole.rpartition("\n\n")
        if not parting or not rest.endswith("\n"):
            raise EvidenceError(
                "signed note: wanted a text, an empty line and signature lines, each ended by a "
                "newline."
            )
        lines = rest[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise EvidenceError(
                f"signed note: {len(lines)} signatures; at most {MAX_SIGNATURES} are read."
            )
        return cls(f"{text}\n", tuple(NoteSignature.parse(line) for line in lines))

    def signed_by(self, key: PublicKey) -> bool:
        """Whether a log's key signed it; False where no signature claims so.

        Raises:
            EvidenceError: a signature claims so and is not the key's.
        """
        claims = self._of(key, LOG_TYPE)
        for said in claims:
            self._check(key, said.signature, self.text.encode())
        return bool(claims)

    def cosigned_by(self, witness: PublicKey) -> int | None:
        """When a witness cosigned it last, in seconds since 1970; None where it did not.

        Raises:
            EvidenceError: a signature claims so and is not the witness's.
        """
        times = []
        for said in self._of(witness, WITNESS_TYPE):
            at = int.from_bytes(said.signature[:_TIME_BYTES], "big")
            if at >= 1 << 63:
                raise EvidenceError(f"checkpoint: {witness.name} cosigned it at no time ({at}).")
            self._check(witness, said.signature[_TIME_BYTES:], cosigned_text(self.text, at))
            times.append(at)
        return max(times, default=None)

    def with_signatures(self, signatures: Iterable[NoteSignature]) -> SignedNote:
        """The same text with further signatures; the newest of a key stands for the older."""
        kept = {(s.name, s.key_id): s for s in (*self.signatures, *signatures)}
        return SignedNote(self.text, tuple(kept.values()))

    def _of(self, key: PublicKey, kind: int) -> list[NoteSignature]:
        key_id = key.note_id(kind)
        return [s for s in self.signatures if s.name == key.name and s.key_id == key_id]

    def _check(self, key: PublicKey, signature: bytes, message: bytes) -> None:
        if len(signature) != SIGNATURE_BYTES or not key.verify(signature, message):
            raise EvidenceError(
                f"signed note: the signature of {key.name} does not hold: the note or the "
                "signature was changed."
            )


def sign(checkpoint: Checkpoint, key: SigningKey) -> SignedNote:
    """The checkpoint signed by its log.

    Raises:
        EvidenceError: the key is another log's, or the checkpoint cannot be written as one.
    """
    if key.public.name != checkpoint.origin:
        raise EvidenceError(
            f"checkpoint: of '{checkpoint.origin}', but the key is of '{key.public.name}'."
        )
    text = checkpoint.text()
    if Checkpoint.parse(text) != checkpoint or _CONTROL.search(text):
        raise EvidenceError(f"checkpoint: {checkpoint!r} cannot be written.")
    public = key.public
    said = NoteSignature(public.name, public.note_id(LOG_TYPE), key.sign(text.encode()))
    return SignedNote(text, (said,))


def cosign(note: SignedNote, key: SigningKey, at: int) -> NoteSignature:
    """A witness's cosignature of a checkpoint; it must have checked it before.

    Args:
        note: the checkpoint.
        key: the witness's.
        at: now, in seconds since 1970.
    """
    signature = at.to_bytes(_TIME_BYTES, "big") + key.sign(cosigned_text(note.text, at))
    return NoteSignature(key.public.name, key.public.note_id(WITNESS_TYPE), signature)


def cosigned_text(text: str, at: int) -> bytes:
    """What a witness signs: its time, and the note's text."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _hash(text: str) -> bytes:
    content = _decoded("checkpoint: root", text)
    if len(content) != HASH_BYTES:
        raise EvidenceError(f"checkpoint: the root has {len(content)} bytes, wanted {HASH_BYTES}.")
    return content


def _decoded(where: str, text: str) -> bytes:
    """Base64 that has one form only: no stray bits in its last character."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if base64.b64encode(content).decode("ascii") != text:
        raise EvidenceError(f"{where}: '{text[:80]}' is not base64.")
    return content
