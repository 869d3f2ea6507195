"""A small log with real keys, from which bundles and exports are made."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.audit import verify
from service.audit.bundle import Erased, Evidence, Present, Withheld
from service.audit.checkpoint import Checkpoint, SignedNote, cosign, sign
from service.audit.envelope import Envelope, signed
from service.audit.keys import SigningKey
from service.audit.keyset import KeySet
from service.audit.merkle import MemoryNodes, MerkleTree
from service.audit.record import Payload, Record, build, new_id

ORIGIN = "glassline.example/line-3"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def a_key(seed: str, name: str = ORIGIN) -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(seed.encode().ljust(32)))


LOG_KEY = a_key("log")
WITNESS = a_key("witness", "witness.example/w1")


def a_record(number: int, *payloads: Payload) -> Record:
    content = {"number": number, "share": 0.1 * number, "text": "Prüfling Ω"}
    return build("prediction", new_id(), NOW, content, {"model": "m"}, payloads)


@dataclass
class Log:
    """A log as the sequencer will keep it."""

    key: SigningKey = LOG_KEY
    keys: KeySet = field(default_factory=lambda: KeySet.of(LOG_KEY.public, NOW))
    records: list[Record] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    tree: MerkleTree = field(default_factory=lambda: MerkleTree(MemoryNodes()))

    def append(self, *records: Record) -> None:
        for record in records:
            self.records.append(record)
            self.envelopes.append(signed(record, self.key))
            self.tree.append(record.body)

    def grown(self, size: int) -> Log:
        self.append(*(a_record(i) for i in range(len(self.records), size)))
        return self

    def checkpoint(self, size: int | None = None, *, witnessed: bool = False) -> SignedNote:
        size = self.tree.size if size is None else size
        note = sign(Checkpoint(ORIGIN, size, self.tree.root(size)), self.key)
        return note.with_signatures([cosign(note, WITNESS, 1_795_435_200)] if witnessed else [])

    def evidence(
        self,
        index: int,
        payloads: list[Present | Erased | Withheld] | None = None,
        *,
        witnessed: bool = False,
    ) -> Evidence:
        record = self.records[index]
        if payloads is None:
            payloads = [Present(p.name, p.content, p.salt) for p in record.payloads]
        return Evidence(
            body=record.body,
            envelope=self.envelopes[index],
            index=index,
            path=self.tree.inclusion_path(index),
            checkpoint=self.checkpoint(witnessed=witnessed),
            keys=self.keys,
            payloads=payloads,
        )


def verified(path: Path, *options: str) -> tuple[int, str]:
    """What a stranger is told: the script alone, without this project or its environment."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", verify.__file__, str(path), *options],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


def unpacked(zipped: bytes, folder: Path) -> Path:
    for name, content in verify.unpack(zipped).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed_again(folder: Path) -> bytes:
    """The bundle that somebody makes who knows its format and changed it on purpose."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return resummed(files)


def resummed(files: dict[str, bytes]) -> bytes:
    from hashlib import sha256

    rest: dict[str, Any] = {k: v for k, v in files.items() if k != verify.SUMS}
    digests = {name: sha256(content).hexdigest() for name, content in rest.items()}
    return verify.pack({**rest, verify.SUMS: verify.sums(digests)})
