"""A log of 1,000 records and a bundle of it: whatever is changed afterwards is detected.

What is exhaustive goes through the verifier's own functions in this process; samples of it, and
what needs the whole verifier, through the verifier as it is shipped.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.audit import verify
from service.audit.bundle import bundle
from service.audit.log import AuditLog
from service.audit.log_export import export_log
from service.audit.merkle import MemoryNodes, MerkleTree
from service.audit.record import Payload, Record
from service.audit.store import RecordStore
from service.errors import GlasslineError
from tests.audit.evidence import a_record, resummed, verified
from tests.audit.logs import a_log

RECORDS = 1000
pytestmark = pytest.mark.slow


@dataclass
class Kept:
    """What an auditor holds in their hands: an exported log and a bundle of one of its records."""

    store: Path
    folder: Path
    lines: list[bytes]
    root: bytes
    bundle: bytes


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Written by the real writer into a real store, in the groups that load makes."""
    where = tmp_path_factory.mktemp("tamper")
    writer = a_log(where / "records.db")
    records = [with_payload(n) if n % 50 == 0 else a_record(n) for n in range(RECORDS)]
    for start in range(0, RECORDS, 64):
        writer.append(records[start : start + 64])
    log = AuditLog(writer.store)
    folder = where / "export"
    export_log(folder, log.leaves(), log.checkpoint(), log.keys())
    zipped = bundle(log.evidence(records[500].id))
    lines = (folder / "records.ndjson").read_bytes().splitlines(keepends=True)
    yield Kept(where / "records.db", folder, lines, log.root(), zipped)
    writer.store.close()


def with_payload(number: int) -> Record:
    return a_record(number, Payload("image", "image/png", b"\x89PNG" + bytes(number % 256)))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures by `cryptography`: tens of thousands of openssl commands take too long."""

    def holds(_: verify.OpenSSL, key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    monkeypatch.setattr(verify.OpenSSL, "holds", holds)


def root_of(lines: list[bytes]) -> bytes | None:
    """The root that the verifier finds over these lines; None where their number is wrong."""
    peaks: list[bytes] = []
    whole = b"".join(lines)
    found = whole.split(b"\n")
    if found.pop() or len(found) != RECORDS:
        return None
    for index, line in enumerate(found):
        node = verify.leaf_hash(line)
        while index & 1:
            node, index = verify.node_hash(peaks.pop(), node), index >> 1
        peaks.append(node)
    return verify.root_of(peaks)


def log_holds(folder: Path, *options: str) -> bool:
    """What the whole verifier says of an exported log, in this process."""
    given = verify.arguments(["--log", str(folder), *options])
    try:
        verify.check_log(folder, given, verify.Findings())
    except (verify.Failed, ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


def resum(folder: Path) -> None:
    """What somebody does who knows the format and changes an export on purpose."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != verify.SUMS]
    digests = {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    (folder / verify.SUMS).write_bytes(verify.sums(digests))


def test_every_byte_of_every_record_is_under_the_root(kept: Kept) -> None:
    """Each byte of records.ndjson flipped in turn, whatever the digests beside it say."""
    tree = MerkleTree(MemoryNodes())
    tree.extend(line[:-1] for line in kept.lines)
    assert root_of(kept.lines) == kept.root == tree.root()
    flips = missed = 0
    for index, line in enumerate(kept.lines):
        path = tree.inclusion_path(index)
        body = bytearray(line[:-1])
        for place in range(len(body)):
            mask = 1 << (place + index) % 8
            body[place] ^= mask
            # A byte that becomes a line's end makes one record more than the checkpoint says.
            if b"\n" not in body:
                found = verify.root_by_inclusion(bytes(body), index, RECORDS, path)
                missed += found == kept.root
            body[place] ^= mask
            flips += 1
        changed = [*kept.lines]
        changed[index] = line[:-1] + bytes([10 ^ 1 << index % 8])
        missed += root_of(changed) == kept.root
        flips += 1
    assert flips == sum(map(len, kept.lines)) > 150_000
    assert missed == 0


@pytest.mark.usefixtures("in_process")
def test_flips_anywhere_in_an_export_are_detected(kept: Kept, tmp_path: Path) -> None:
    """With the digests as they were, and made anew by whoever flipped; all signatures looked at."""
    folder = Path(shutil.copytree(kept.folder, tmp_path / "log"))
    chance = random.Random(7)
    originals = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    assert log_holds(folder, "--signatures", "all")
    weighed = [p for p in originals for _ in range(40 if p.suffix == ".ndjson" else 10)]
    #: No signature covers these: who reads them, or runs the script in the export, is on their own.
    free = {"README.txt", "verify.py", verify.SUMS}
    for path in (chance.choice(weighed) for _ in range(1500)):
        assert not log_holds_with_flip(folder, path, originals[path], chance), path
    for path in (chance.choice(weighed) for _ in range(120)):
        if path.name not in free | {"keys.json"}:
            assert not log_holds_with_flip(
                folder, path, originals[path], chance, "--signatures", "all", anew=True
            ), path
            (folder / verify.SUMS).write_bytes(originals[folder / verify.SUMS])
    assert log_holds(folder, "--signatures", "all")


def log_holds_with_flip(
    folder: Path,
    path: Path,
    original: bytes,
    chance: random.Random,
    *options: str,
    anew: bool = False,
) -> bool:
    content = bytearray(original)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))
    if anew:
        resum(folder)
    held = log_holds(folder, *options)
    path.write_bytes(original)
    return held


def test_every_deletion_move_and_truncation_is_detected(kept: Kept) -> None:
    chance = random.Random(8)
    lines = kept.lines
    for index in range(RECORDS):
        assert root_of(lines[:index] + lines[index + 1 :]) != kept.root  # deleted
        assert root_of(lines[:index]) != kept.root  # cut after a record
        moved = [*lines]
        moved.insert(chance.randrange(RECORDS - 1), moved.pop(index))
        assert moved == lines or root_of(moved) != kept.root
        swapped = [*lines]
        other = chance.randrange(RECORDS)
        swapped[index], swapped[other] = swapped[other], swapped[index]
        assert index == other or root_of(swapped) != kept.root
        twice = [*lines[: index + 1], *lines[index:]]
        assert root_of(twice) != kept.root
        # one put in the place of another, so that the number is right
        doubled = [*lines]
        doubled[index] = lines[other]
        assert index == other or root_of(doubled) != kept.root
    whole = b"".join(lines)
    for place in chance.sample(range(len(whole)), 300):
        assert root_of([whole[:place]]) != kept.root  # cut anywhere


@pytest.mark.parametrize("change", ["delete", "swap", "cut", "cut-in-a-record", "insert"])
def test_the_shipped_verifier_detects_them_too(kept: Kept, tmp_path: Path, change: str) -> None:
    folder = Path(shutil.copytree(kept.folder, tmp_path / "log"))
    for name in ("records.ndjson", "envelopes.ndjson"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        if change == "delete":
            del lines[617]
        elif change == "swap":
            lines[100], lines[900] = lines[900], lines[100]
        elif change == "insert":
            lines.insert(400, lines[10])
        else:
            lines = lines[:-1]
        whole = b"".join(lines)
        (folder / name).write_bytes(whole[:-20] if change == "cut-in-a-record" else whole)
    assert verified(folder)[0] == 1
    resum(folder)
    status, said = verified(folder)
    assert (status, "DOES NOT HOLD" in said) == (1, True), said


def test_a_fork_from_any_place_is_detected_by_any_checkpoint_after_it(kept: Kept) -> None:
    """The operator himself writes another history from some place on, and signs it."""
    honest = MerkleTree(MemoryNodes())
    honest.extend(line[:-1] for line in kept.lines)
    roots = [honest.root(size) for size in range(RECORDS + 1)]
    for start in random.Random(9).sample(range(RECORDS), 12):
        forked = MerkleTree(MemoryNodes())
        forked.extend(line[:-1] for line in kept.lines[:start])
        forked.extend(a_record(number).body for number in range(start, RECORDS))
        for size in range(start + 1, RECORDS + 1):
            assert forked.root(size) != roots[size]
            assert not proves(forked, roots[size], size), (start, size)
        assert start == 0 or proves(forked, roots[start], start)


def proves(tree: MerkleTree, seen: bytes, size: int) -> bool:
    """Whether the verifier believes that a log continues one that was seen."""
    old, new = (object.__new__(verify.Checkpoint) for _ in range(2))
    old.size, old.root = size, seen
    new.size, new.root = RECORDS, tree.root()
    return verify.consistent(old, new, tree.consistency_path(size, RECORDS))


def test_every_byte_of_the_bundle_is_detected(kept: Kept) -> None:
    missed = 0
    for place in range(len(kept.bundle)):
        changed = bytearray(kept.bundle)
        changed[place] ^= 1 << place % 8
        missed += unpacks(bytes(changed))
    assert missed == 0


def unpacks(zipped: bytes) -> bool:
    """Whether the files are those that were written, before any signature is looked at."""
    try:
        files = verify.unpack(zipped)
        listed = files.pop(verify.SUMS, b"")
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return set(verify.check_sums(listed, digests.get)) == set(files)
    except verify.Failed:
        return False


@pytest.mark.usefixtures("in_process")
def test_every_byte_of_what_a_bundle_proves_is_detected_with_digests_made_anew(kept: Kept) -> None:
    files = verify.unpack(kept.bundle)
    options = verify.arguments([])
    proving = sorted(set(files) - {"README.txt", "verify.py", "keys.json", verify.SUMS})
    assert any(name.startswith("payloads/") for name in proving)

    def holds(name: str, content: bytes) -> bool:
        again = verify.unpack(resummed({**files, name: content}))
        again.pop(verify.SUMS)
        try:
            verify.check_bundle(again, options, verify.Findings())
        except (verify.Failed, ValueError):
            return False
        return True

    assert holds("record.json", files["record.json"])
    for name in proving:
        for place in range(len(files[name])):
            changed = bytearray(files[name])
            changed[place] ^= 1 << place % 8
            assert not holds(name, bytes(changed)), (name, place)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), '\"number\":500', "
        "'\"number\":501') AS BLOB) WHERE sequence = 501",
        "UPDATE records SET body = (SELECT body FROM records WHERE sequence = 7) "
        "WHERE sequence = 501",
        "UPDATE records SET signature = zeroblob(64) WHERE sequence = 501",
        "DELETE FROM payloads",
        "UPDATE payloads SET salt = zeroblob(16)",
        "UPDATE tiles SET nodes = zeroblob(length(nodes))",
        "UPDATE log SET note = replace(note, char(10) || '1000' || char(10), "
        "char(10) || '999' || char(10))",
    ],
)
def test_of_what_a_database_administrator_changed_no_evidence_is_made(
    kept: Kept, tmp_path: Path, change: str
) -> None:
    source, target = sqlite3.connect(kept.store), sqlite3.connect(tmp_path / "copy.db")
    source.backup(target)
    (record_id,) = target.execute("SELECT id FROM records WHERE sequence = 501").fetchone()
    with target:
        assert target.execute(change).rowcount > 0
    source.close()
    target.close()
    store = RecordStore(f"sqlite:///{tmp_path / 'copy.db'}")
    try:
        with pytest.raises(GlasslineError):
            bundle(AuditLog(store).evidence(record_id))
    finally:
        store.close()
