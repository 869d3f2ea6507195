#!/usr/bin/env python3
"""Check a Glassline evidence bundle, or a whole exported log, without Glassline.

    python3 verify.py                  the folder in which this file is
    python3 verify.py bundle.zip       a bundle, as zip or unpacked
    python3 verify.py --log FOLDER     an exported log

It needs Python 3.9 or newer with nothing installed, and `openssl` 3.0 or newer for the
signatures. It reads and never writes, and asks no network.

Exit status: 0, what was looked at holds; 1, something is not as it was; 2, it could not look.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

SUMS = "SHA256SUMS"
#: Of every bundle; its payloads are there as well.
FILES = (
    "README.txt",
    "checkpoint",
    "envelope.json",
    "keys.json",
    "payloads.json",
    "proof.json",
    "record.json",
    "verify.py",
)
EMPTY_ROOT = hashlib.sha256(b"").digest()
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what stands before an Ed25519 key
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://github.com/glassline/glassline/record/v1"
PROOF_SCHEMA, KEYS_SCHEMA = "glassline.proof/1", "glassline.keys/1"
LOG_TYPE, WITNESS_TYPE = 1, 4  # C2SP signed-note signature types
FILE_NAME = re.compile(r"(?:[a-z]+/)?[A-Za-z0-9][A-Za-z0-9._-]*")
KINDS = {dict: "an object", list: "a list", str: "text", int: "a whole number"}


class Failed(Exception):
    """Something is not as it was."""


class Cannot(Exception):
    """It could not be looked at."""


class Findings:
    """What was proved and what was not, in words."""

    def __init__(self) -> None:
        self.proved: list[str] = []
        self.open: list[str] = []


# --- files ---------------------------------------------------------------------------------


def pack(files: dict[str, bytes]) -> bytes:
    """The one zip that holds these files: sorted, stored, without times.

    Every byte follows from the files, so that none can be changed without being noticed.
    """
    body, directory = bytearray(), bytearray()
    for name in sorted(files):
        content, label = files[name], name.encode("ascii")
        size, crc, at = len(content), zlib.crc32(content), len(body)
        # 33 is 1 January 1980, the first day that a zip knows.
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, crc, size, size, len(label), 0)
        body += b"PK\3\4" + common + label + content
        tail = struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, at)
        directory += b"PK\1\2" + struct.pack("<H", 3 << 8 | 20) + common + tail + label
    end = struct.pack("<4H2LH", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def unpack(raw: bytes) -> dict[str, bytes]:
    """The files of a zip that `pack` made, and of no other."""
    files: dict[str, bytes] = {}
    at = 0
    try:
        while raw[at : at + 4] == b"PK\3\4":
            size, length = struct.unpack_from("<LH", raw, at + 22)
            start = at + 30 + length
            files[raw[at + 30 : start].decode("ascii")] = raw[start : start + size]
            at = start + size
        whole = pack(files) == raw
    except (struct.error, ValueError):
        whole = False
    if not whole:
        raise Failed(
            "the zip is not byte for byte as it was written. If you packed it again yourself, "
            "unpack it and verify the folder."
        )
    return files


def sums(digests: dict[str, str]) -> bytes:
    """SHA256SUMS of these files, as `sha256sum -c` reads it."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode("ascii")


def check_sums(listed: bytes, digest_of: Callable[[str], str | None]) -> list[str]:
    """Names of the files in SHA256SUMS, each of which must have its digest."""
    try:
        pairs = [line.split("  ", 1) for line in listed.decode("ascii").splitlines()]
        wanted = {name: digest for digest, name in pairs}
    except ValueError:
        raise Failed(f"{SUMS} is not a list of digests.") from None
    for name, digest in wanted.items():
        if not FILE_NAME.fullmatch(name):
            raise Failed(f"{SUMS} names a file '{ascii(name)[1:81]}', which no bundle has.")
        found = digest_of(name)
        if found is None:
            raise Failed(f"{name} is missing.")
        if found != digest:
            raise Failed(f"{name} was changed, or its line in {SUMS}.")
    if sums(wanted) != listed:
        raise Failed(f"{SUMS} is not as it was written.")
    return list(wanted)


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
            return digest.hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def listed_in(folder: Path) -> bytes:
    """SHA256SUMS of a folder."""
    if not folder.exists():
        raise Cannot(f"there is no {folder}.")
    if not (folder / SUMS).is_file():
        raise Failed(f"{SUMS} is missing, or this is no bundle and no log.")
    return (folder / SUMS).read_bytes()


def read_bundle(path: Path, findings: Findings) -> dict[str, bytes]:
    """The files of a bundle, each as SHA256SUMS says."""
    zipped = path.is_file()
    files = unpack(path.read_bytes()) if zipped else {SUMS: listed_in(path)}
    listed = files.pop(SUMS, b"")

    def digest_of(name: str) -> str | None:
        if not zipped and (path / name).is_file():
            files[name] = (path / name).read_bytes()
        return hashlib.sha256(files[name]).hexdigest() if name in files else None

    names = check_sums(listed, digest_of)
    if strangers := sorted(set(files) - set(names)):
        raise Failed(f"the zip holds {strangers[:5]}, which {SUMS} does not list.")
    if not zipped:
        note_strangers(path, names, findings)
    return files


def note_strangers(folder: Path, names: list[str], findings: Findings) -> None:
    """Say which files of a folder were not looked at."""
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    if strangers := sorted(there - {*names, SUMS}):
        findings.open.append(f"Anything about files that do not belong here: {strangers[:5]}.")


# --- values --------------------------------------------------------------------------------


def parsed(name: str, content: bytes) -> Any:
    """JSON with each member once and no NaN."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a member stands there twice")
        return dict(pairs)

    def never(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(content, object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise Failed(f"{name} is not JSON ({error}).") from None


def get(where: str, holder: Any, key: str, kind: type) -> Any:
    """A member of an object, of this type."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Failed(f"{where}: '{key}' is not {KINDS[kind]}.")
    return value


def unbase64(where: str, text: Any, size: int | None = None) -> bytes:
    """Base64 in its only form."""
    try:
        content = base64.b64decode(text, validate=True)
        if base64.b64encode(content).decode("ascii") == text and size in (None, len(content)):
            return content
    except (ValueError, TypeError):
        pass
    raise Failed(f"{where} is not base64{f' of {size} bytes' if size else ''}.")


# --- signatures ----------------------------------------------------------------------------


class OpenSSL:
    """The `openssl` command, asked whether Ed25519 signatures hold."""

    #: RFC 8032 sec. 7.1, test 2: key, signature of the byte 72.
    KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    SIGNATURE = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )

    def __init__(self, command: str) -> None:
        self.command = command
        key, signature = bytes.fromhex(self.KEY), bytes.fromhex(self.SIGNATURE)
        if not self.holds(key, signature, b"\x72") or self.holds(key, signature, b"\x73"):
            raise Cannot(f"'{command}' gives wrong answers to the test vectors of RFC 8032.")

    def holds(self, key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the holder of this key signed exactly this message."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("key", SPKI + key), ("sig", signature), ("msg", message)):
                (Path(folder) / name).write_bytes(content)
            arguments = "pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in msg -sigfile sig"
            try:
                done = subprocess.run(
                    [self.command, *arguments.split()],
                    cwd=folder, capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Cannot(f"'{self.command}' cannot be run ({error}).") from None
        said = done.stdout + done.stderr
        if done.returncode == 0 and "Verified Successfully" in said:
            return True
        if "Verification Failure" in said:
            return False
        raise Cannot(
            f"'{self.command}' cannot check Ed25519 signatures; OpenSSL 3.0 or newer can. "
            f"Name another with --openssl. It said: {said.strip()[:200]}"
        )


class Key:
    """A public key of the log, and how far it may be believed."""

    def __init__(self, origin: str, said: Any) -> None:
        self.raw = unbase64(
            "keys.json: a public key", get("keys.json", said, "public_key", str), 32
        )
        self.id = hashlib.sha256(SPKI + self.raw).hexdigest()
        self.status = get("keys.json", said, "status", str)
        self.until = (
            None if said.get("until_size") is None else get("keys.json", said, "until_size", int)
        )
        self.note_id = note_id(origin, LOG_TYPE, self.raw)
        if said.get("keyid") != self.id or self.status not in ("active", "retired", "revoked"):
            raise Failed(f"keys.json: key {self.id} is not described as what it is.")

    def signs_checkpoint(self, size: int) -> bool:
        """Whether its signature counts on a checkpoint of this size."""
        if self.status == "active":
            return True
        return self.status == "retired" and (self.until is None or size <= self.until)

    def signs_record(self, index: int) -> bool:
        """Whether its signature counts on the record at this index."""
        return self.until is None or index < self.until


def note_id(name: str, kind: int, raw: bytes) -> bytes:
    """The 4 bytes that name a key in a signed note."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + raw).digest()[:4]


def verifier_key(text: str, kind: int) -> tuple[str, bytes]:
    """Name and key of a line `name+id+base64`."""
    name, *rest = text.split("+", 2)
    try:
        raw = base64.b64decode(rest[1], validate=True)
    except (ValueError, IndexError):
        raise Cannot(f"'{text}' is no verifier key: wanted name+id+base64.") from None
    if len(raw) != 33 or raw[0] != kind or note_id(name, kind, raw[1:]).hex() != rest[0]:
        raise Cannot(f"'{text}' is no verifier key of type {kind:02x}, or was changed.")
    return name, raw[1:]


class Checkpoint:
    """A signed note that states a log's size and root (C2SP tlog-checkpoint)."""

    def __init__(self, where: str, content: bytes) -> None:
        try:
            whole = content.decode("utf-8")
        except ValueError:
            raise Failed(f"{where} is not UTF-8.") from None
        text, parting, rest = whole.rpartition("\n\n")
        lines = text.split("\n")
        if re.search(r"[\x00-\x09\x0b-\x1f]", whole) or not parting or not rest.endswith("\n"):
            raise Failed(f"{where} is no signed note.")
        if len(lines) < 3 or not all(lines) or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
            raise Failed(f"{where} does not state an origin, a size and a root.")
        self.text = text + "\n"
        self.origin, self.size = lines[0], int(lines[1])
        self.root = unbase64(f"{where}: the root", lines[2], 32)
        self.signatures: list[tuple[str, bytes, bytes]] = []
        for line in rest[:-1].split("\n"):
            found = re.fullmatch(r"\u2014 ([^\s+]+) (\S+)", line)
            if not found:
                raise Failed(f"{where}: '{line[:60]}' is no signature.")
            signature = unbase64(f"{where}: the signature of {found[1][:60]}", found[2])
            self.signatures.append((found[1], signature[:4], signature[4:]))

    def of(self, name: str, key_id: bytes) -> list[bytes]:
        """What a key signed."""
        return [s for n, i, s in self.signatures if (n, i) == (name, key_id)]


# --- tree (RFC 9162) -----------------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    """The tree's node over a record."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The tree's node over two."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(peaks: list[bytes]) -> bytes:
    """The root over complete subtrees, the largest first."""
    if not peaks:
        return EMPTY_ROOT
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node


def root_by_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that a record and its proof lead to; None where the proof has a wrong length."""
    first, last, node = index, size - 1, leaf_hash(leaf)
    for neighbour in path:
        if last == 0:
            return None
        if first & 1 or first == last:
            node = node_hash(neighbour, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, neighbour)
        first, last = first >> 1, last >> 1
    return None if last else node


def consistent(old: Checkpoint, new: Checkpoint, path: list[bytes]) -> bool:
    """Whether the proof shows that the older log is the beginning of the newer."""
    if old.size in (0, new.size):
        return not path and old.root == (EMPTY_ROOT if old.size == 0 else new.root)
    first, last = old.size - 1, new.size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    nodes = list(path) if first else [old.root, *path]
    if not nodes:
        return False
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, node)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old.root and after == new.root


# --- checks --------------------------------------------------------------------------------


class Trust:
    """What the one who verifies knows from elsewhere, and the keys that follow."""

    def __init__(self, options: argparse.Namespace, bundled: bytes) -> None:
        self.openssl = OpenSSL(options.openssl)
        self.own_keys = options.keys is not None
        content = Path(options.keys).read_bytes() if self.own_keys else bundled
        said = parsed("keys.json", content)
        witnesses = get("keys.json", said, "witnesses", list)
        if get("keys.json", said, "schema", str) != KEYS_SCHEMA:
            raise Failed(f"keys.json is of schema '{said['schema']}'; this reads {KEYS_SCHEMA}.")
        self.origin = get("keys.json", said, "origin", str)
        self.keys = [Key(self.origin, k) for k in get("keys.json", said, "keys", list)]
        self.pinned = {self._key_id(text) for text in options.key}
        known = [verifier_key(text, WITNESS_TYPE) for text in options.witness]
        try:
            named = [verifier_key(str(text), WITNESS_TYPE) for text in witnesses]
        except Cannot as reason:
            raise Failed(f"keys.json: {reason}") from None
        self.known, self.named = known, [w for w in named if w not in known]

    @staticmethod
    def _key_id(text: str) -> str:
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
        return hashlib.sha256(SPKI + verifier_key(text, LOG_TYPE)[1]).hexdigest()

    def check_checkpoint(self, where: str, note: Checkpoint, earlier: bool = False) -> Key:
        """The key of the log that signed it, which must be one that may be believed.

        For an earlier checkpoint any key of the log will do, whatever became of it: it is not
        what the rest hangs on, but what the rest is compared with.
        """
        if note.origin != self.origin:
            raise Failed(f"{where} is of '{note.origin}', the keys are of '{self.origin}'.")
        signers = []
        for key in self.keys:
            for signature in note.of(self.origin, key.note_id):
                if not self.openssl.holds(key.raw, signature, note.text.encode()):
                    raise Failed(f"{where}: the signature of key {key.id} does not hold.")
                signers.append(key)
        if not signers:
            raise Failed(f"{where} is signed by none of the log's keys.")
        if earlier:
            return signers[0]
        valid = [key for key in signers if key.signs_checkpoint(note.size)]
        if not valid:
            raise Failed(
                f"{where} is signed by key {signers[0].id}, which was {signers[0].status}."
            )
        if self.pinned and not (valid := [key for key in valid if key.id in self.pinned]):
            raise Failed(f"{where} is signed by key {signers[0].id}, which you did not name.")
        return valid[0]

    def check_witnesses(self, note: Checkpoint, seen: bool, findings: Findings) -> None:
        """Cosignatures of those that the verifying person knows, and of those named here."""
        after = " after the checkpoint of before" if seen else ""
        for witnesses, whose in ((self.known, "whom you named"), (self.named, "named by the log")):
            for name, raw in witnesses:
                times = [
                    self._cosigned(name, raw, said, note)
                    for said in note.of(name, note_id(name, WITNESS_TYPE, raw))
                ]
                if times:
                    findings.proved.append(
                        f"Witness {name}, {whose}, signed at {utc(max(times))} that this root "
                        "continues all that it had seen of this log before."
                    )
                elif whose == "whom you named":
                    raise Failed(f"the checkpoint is not cosigned by witness {name}.")
        names = {self.origin, *(name for name, _ in (*self.known, *self.named))}
        if strangers := sorted({name for name, _, _ in note.signatures} - names):
            findings.open.append(f"What {strangers[:5]} signed: nobody here has their keys.")
        if not self.known:
            findings.open.append(
                f"That there is only one history{after}. Whoever holds the signing key can write a "
                "second log, leave records out, and sign it as well. An outside witness whom you "
                "know (--witness), or a checkpoint that you kept (--seen), rules that out."
            )

    def _cosigned(self, name: str, raw: bytes, said: bytes, note: Checkpoint) -> int:
        at = int.from_bytes(said[:8], "big")
        message = f"cosignature/v1\ntime {at}\n{note.text}".encode()
        if len(said) != 72 or not self.openssl.holds(raw, said[8:], message):
            raise Failed(f"checkpoint: the cosignature of {name} does not hold.")
        return at

    def check_envelope(self, body: bytes, content: bytes, index: int) -> tuple[Key, bytes, bytes]:
        """The key that claims to have signed a record, its signature, and what it signed."""
        said = parsed("envelope", content)
        statement = unbase64("envelope: the payload", get("envelope", said, "payload", str))
        signatures = get("envelope", said, "signatures", list)
        about = parsed("envelope: the statement", statement)
        subjects = get("envelope: the statement", about, "subject", list)
        digest = hashlib.sha256(body).hexdigest()
        if (
            said.get("payloadType") != PAYLOAD_TYPE
            or about.get("_type") != STATEMENT_TYPE
            or about.get("predicateType") != PREDICATE_TYPE
            or len(subjects) != 1
        ):
            raise Failed("the envelope holds no statement about a record.")
        if get("envelope: the statement", subjects[0], "digest", dict).get("sha256") != digest:
            raise Failed(f"the envelope is for another record: this one has SHA-256 {digest}.")
        for one in signatures:
            for key in self.keys:
                if isinstance(one, dict) and one.get("keyid") == key.id:
                    if not key.signs_record(index):
                        raise Failed(f"record {index} is signed by a key that was {key.status}.")
                    signature = unbase64("envelope: the signature", one.get("sig"), 64)
                    kind = PAYLOAD_TYPE.encode()
                    head = b"DSSEv1 %d %b %d " % (len(kind), kind, len(statement))
                    return key, signature, head + statement
        raise Failed("the envelope is signed by none of the log's keys.")

    def conclude(self, signer: Key, findings: Findings) -> None:
        """What hangs on knowing the key, and what no signature can say."""
        if not self.pinned and not self.own_keys:
            findings.open.append(
                f"Whose key {signer.id} is. It came with what it signed: compare it with what the "
                "operator of the log publishes elsewhere, then name it with --key."
            )
        findings.open.append(
            "When it happened. The times in records are those of the server's clock; a witness's "
            "time says only that a record existed by then."
        )
        findings.open.append(
            "That an answer was right, or that everything that happened was recorded. This shows "
            "what was recorded, and that it was not changed afterwards."
        )


def check_bundle(files: dict[str, bytes], options: argparse.Namespace, findings: Findings) -> None:
    """All that a bundle claims about one record."""
    if missing := sorted(set(FILES) - set(files)):
        raise Failed(f"{missing} are missing.")
    trust = Trust(options, files["keys.json"])
    body = files["record.json"]
    record, proof = parsed("record.json", body), parsed("proof.json", files["proof.json"])
    index = get("proof.json", proof, "leaf_index", int)
    note = Checkpoint("checkpoint", files["checkpoint"])
    key, signature, message = trust.check_envelope(body, files["envelope.json"], index)
    if not trust.openssl.holds(key.raw, signature, message):
        raise Failed(f"the envelope's signature by key {key.id} does not hold.")
    findings.proved.append(
        f"Record {get('record.json', record, 'id', str)} ({get('record.json', record, 'kind', str)}"
        f", SHA-256 {hashlib.sha256(body).hexdigest()}) is what key {key.id} signed."
    )
    path_ = [unbase64("proof.json: a node", n, 32) for n in get("proof.json", proof, "path", list)]
    if get("proof.json", proof, "schema", str) != PROOF_SCHEMA:
        raise Failed(f"proof.json is of schema '{proof['schema']}'; this reads {PROOF_SCHEMA}.")
    if get("proof.json", proof, "tree_size", int) != note.size or not 0 <= index < note.size:
        raise Failed(f"proof.json is not for the checkpoint, whose log has {note.size} records.")
    if root_by_inclusion(body, index, note.size, path_) != note.root:
        raise Failed("the inclusion proof does not lead from the record to the checkpoint's root.")
    signer = trust.check_checkpoint("checkpoint", note)
    findings.proved.append(
        f"It is record {index}, counted from 0, of the {note.size} in the log '{note.origin}' with "
        f"root {note.root.hex()}: {len(path_)} nodes lead there, and key {signer.id} signed it."
    )
    check_payloads(record, files, findings)
    trust.check_witnesses(note, bool(options.seen), findings)
    if options.seen:
        check_seen(options, note, trust, findings)
    trust.conclude(signer, findings)


def check_payloads(record: Any, files: dict[str, bytes], findings: Findings) -> None:
    """That inputs and artifacts are those that the record committed to."""
    said = parsed("payloads.json", files["payloads.json"])
    if not isinstance(said, list):
        raise Failed("payloads.json is not a list.")
    committed = get("record.json", record, "payloads", list)
    names = [get("record.json", p, "name", str) for p in committed]
    if [p.get("name") if isinstance(p, dict) else None for p in said] != names:
        raise Failed(f"payloads.json does not list the payloads of the record: {names}.")
    proving = set(FILES)
    for payload, where in zip(committed, said):  # noqa: B905 - as long, and Python 3.9
        name, state = payload["name"], get("payloads.json", where, "state", str)
        if state in ("erased", "withheld"):
            findings.open.append(
                f"What payload '{name}' was: it "
                + (f"was erased at {where.get('at')}." if state == "erased" else "was left out.")
            )
            continue
        if state != "present":
            raise Failed(f"payloads.json: the state of '{name}' is '{state}'.")
        content = files.get(file := get("payloads.json", where, "file", str))
        salt = get("payloads.json", where, "salt", str)
        if content is None:
            raise Failed(f"the file of payload '{name}' is missing.")
        if not re.fullmatch("([0-9a-f]{2})*", salt):
            raise Failed(f"payloads.json: the salt of '{name}' is not hexadecimal.")
        proving.add(file)
        digest = hashlib.sha256(bytes.fromhex(salt) + content).hexdigest()
        if (digest, len(content)) != (payload.get("commitment"), payload.get("bytes")):
            raise Failed(f"payload '{name}' is not what the record committed to.")
        findings.proved.append(
            f"Payload '{name}' ({payload.get('media_type')}, {len(content)} bytes) is the one that "
            "the record committed to."
        )
    if strangers := sorted(set(files) - proving):
        raise Failed(f"the bundle lists {strangers[:5]}, which belong to no payload.")


def check_seen(
    options: argparse.Namespace, note: Checkpoint, trust: Trust, findings: Findings
) -> None:
    """That the log continues one that was seen before."""
    seen = Checkpoint("the checkpoint of before", Path(options.seen).read_bytes())
    trust.check_checkpoint("the checkpoint of before", seen, earlier=True)
    if options.consistency:
        proof = parsed("the consistency proof", Path(options.consistency).read_bytes())
        nodes = get("the consistency proof", proof, "path", list)
        path = [unbase64("the consistency proof: a node", node, 32) for node in nodes]
    elif seen.size != note.size:
        raise Cannot(
            f"the checkpoint of before has size {seen.size}, this one {note.size}: get the "
            "consistency proof between them from the operator and name it with --consistency."
        )
    else:
        path = []
    old, new = (seen, note) if seen.size <= note.size else (note, seen)
    if not consistent(old, new, path):
        raise Failed(f"the log does not continue the one of before (size {seen.size}): a fork.")
    findings.proved.append(f"The log agrees with the checkpoint of before, of size {seen.size}.")


def check_log(folder: Path, options: argparse.Namespace, findings: Findings) -> None:
    """All records of an exported log, and every checkpoint in it."""
    names = check_sums(listed_in(folder), lambda name: file_digest(folder / name))
    note_strangers(folder, names, findings)
    for name in ("records.ndjson", "checkpoint", "keys.json"):
        if name not in names:
            raise Failed(f"{name} is missing.")
    trust = Trust(options, (folder / "keys.json").read_bytes())
    notes = {
        name: Checkpoint(name, (folder / name).read_bytes())
        for name in names
        if name == "checkpoint" or name.startswith("checkpoints/")
    }
    if options.seen:
        notes["the checkpoint of before"] = Checkpoint(
            "the checkpoint of before", Path(options.seen).read_bytes()
        )
    last = notes["checkpoint"]
    signer = trust.check_checkpoint("checkpoint", last)
    for name, note in notes.items():
        trust.check_checkpoint(name, note, earlier=True)
    roots = {note.size: EMPTY_ROOT for note in notes.values()}
    enveloped = "envelopes.ndjson" in names
    wanted = to_check(options.signatures, last.size) if enveloped else None
    signatures = list(read_log(folder, trust, roots, wanted, last.size))
    for name, note in notes.items():
        if note.size > last.size:
            raise Failed(f"{name} has {note.size} records, more than this log: it was cut.")
        if roots[note.size] != note.root:
            raise Failed(
                f"the first {note.size} records do not lead to the root in {name}: a record was "
                "changed, moved, left out or put in, or the log was forked."
            )
    check_signatures(trust.openssl, signatures)
    findings.proved.append(
        f"The {last.size} records are those of the log '{last.origin}' with root "
        f"{last.root.hex()}, complete and in order, and key {signer.id} signed it."
    )
    if len(notes) > 1:
        findings.proved.append(f"The log continues {len(notes) - 1} earlier checkpoints.")
    if enveloped:
        findings.proved.append(
            f"Each record has an envelope for its digest; {len(signatures)} of {last.size} "
            "signatures were checked, and hold."
        )
    if len(signatures) < last.size:
        findings.open.append(
            "The records' own signatures, except as said: --signatures all checks them, and takes "
            "milliseconds for each. The checkpoint's signature covers all records."
        )
    trust.check_witnesses(last, bool(options.seen), findings)
    trust.conclude(signer, findings)


def check_signatures(openssl: OpenSSL, claims: list[tuple[int, bytes, bytes, bytes]]) -> None:
    """That each record was signed as its envelope says; several commands at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (index, *_), held in zip(claims, pool.map(lambda c: openssl.holds(*c[1:]), claims)):  # noqa: B905
            if not held:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Failed(f"the signature of record {index} does not hold.")


def to_check(asked: str, size: int) -> set[int]:
    """Which records' signatures are looked at."""
    many = size if asked == "all" else min(int(asked), size)
    return set(random.SystemRandom().sample(range(size), many))


def read_log(
    folder: Path, trust: Trust, roots: dict[int, bytes], wanted: set[int] | None, size: int
) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Read all records, fill in the roots at these sizes, and give the signatures to check.

    Args:
        folder: of the log.
        trust: the keys.
        roots: by size; filled in.
        wanted: of which records; None where there are no envelopes.
        size: records that there must be.
    """
    peaks: list[bytes] = []
    ids: set[str] = set()
    index = 0
    with ExitStack() as files:
        records = files.enter_context((folder / "records.ndjson").open("rb"))
        envelopes = None
        if wanted is not None:
            envelopes = files.enter_context((folder / "envelopes.ndjson").open("rb"))
        for line in records:
            body = line[:-1]
            where = f"record {index}"
            if not line.endswith(b"\n"):
                raise Failed(f"{where} is cut short.")
            record_id = get(where, parsed(where, body), "id", str)
            if record_id in ids:
                raise Failed(f"{where}: its id {record_id} stands in the log twice.")
            ids.add(record_id)
            if envelopes is not None and wanted is not None:
                key, *rest = trust.check_envelope(body, envelopes.readline(), index)
                if index in wanted:
                    yield index, key.raw, rest[0], rest[1]
            node, place = leaf_hash(body), index
            while place & 1:
                node = node_hash(peaks.pop(), node)
                place >>= 1
            peaks.append(node)
            index += 1
            if index in roots:
                roots[index] = root_of(peaks)
        if envelopes is not None and envelopes.read(1):
            raise Failed("there are more envelopes than records.")
    if index != size:
        raise Failed(f"the log has {index} records, its checkpoint says {size}.")


# --- command -------------------------------------------------------------------------------


def utc(seconds: int) -> str:
    """A time that a person reads."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        raise Failed(f"{seconds} is no time.") from None


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Check a Glassline evidence bundle or an exported log.",
        epilog="Exit status: 0 it holds, 1 something is not as it was, 2 it could not be checked.",
    )
    add = parser.add_argument
    add("path", nargs="?", help="bundle, zip or folder; default: the folder of this file")
    add("--log", metavar="FOLDER", help="a whole exported log")
    add("--key", action="append", default=[], help="key id or verifier key that must have signed")
    add("--keys", metavar="FILE", help="the operator's key set, got elsewhere than from here")
    add("--witness", action="append", default=[], help="verifier key of one who must have cosigned")
    add("--seen", metavar="FILE", help="a checkpoint that you kept from before")
    add("--consistency", metavar="FILE", help="consistency proof from it: JSON with 'path'")
    add("--signatures", default="0", metavar="N", help="records' signatures to check: N or all")
    add("--openssl", default="openssl", help="the openssl command, 3.0 or newer")
    options = parser.parse_args(given)
    if options.signatures != "all" and not re.fullmatch("[0-9]{1,9}", options.signatures):
        parser.error("--signatures takes a number or 'all'")
    return options


def main(given: list[str] | None = None) -> int:
    """Verify, say so in words, and return the exit status."""
    options = arguments(given)
    here = Path(__file__).resolve().parent
    path = Path(options.log or options.path or here)
    findings = Findings()
    say(f"Verifying {path}\n")
    try:
        if options.log or looks_like_a_log(path):
            check_log(path, options, findings)
        else:
            check_bundle(read_bundle(path, findings), options, findings)
    except Failed as reason:
        say(f"DOES NOT HOLD: {reason}")
        return 1
    except (ValueError, TypeError, KeyError, RecursionError) as reason:
        say(f"DOES NOT HOLD: something is not of the form it must have ({reason!r})")
        return 1
    except (Cannot, OSError) as reason:
        say(f"COULD NOT BE CHECKED: {reason}")
        return 2
    if path.resolve() == here:
        findings.open.append(
            "That this script is honest: it came with what it checks. Take verify.py from "
            "Glassline's own source, or read it, before much depends on it."
        )
    say("PROVED", *(f"- {line}" for line in findings.proved), "")
    say("NOT PROVED", *(f"- {line}" for line in findings.open), "")
    say("IT HOLDS.")
    return 0


def looks_like_a_log(path: Path) -> bool:
    """An exported log of which a file went missing is still a log, not a poor bundle."""
    return any((path / name).exists() for name in ("records.ndjson", "envelopes.ndjson"))


def say(*lines: str) -> None:
    """Lines that a person reads; nothing that came with the bundle can steer the terminal."""
    encoding = sys.stdout.encoding or "ascii"
    for text in lines:
        line = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


if __name__ == "__main__":
    sys.exit(main())
