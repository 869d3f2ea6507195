"""A whole log verifies without this project, and no record of it can be touched unnoticed."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit import verify
from service.audit.checkpoint import Checkpoint, sign
from service.audit.envelope import signed
from service.audit.keys import WITNESS_TYPE
from service.audit.log_export import export_log
from service.audit.merkle import EMPTY_ROOT, MemoryNodes, MerkleTree
from service.audit.merkle_proof import verify_consistency as ours
from service.errors import EvidenceError, StoreError
from tests.audit.evidence import LOG_KEY, NOW, ORIGIN, WITNESS, Log, a_key, a_record, verified

RECORDS = 1000
LOG = Log().grown(RECORDS)


def exported(
    folder: Path, log: Log = LOG, *, envelopes: bool = True, witnessed: bool = True
) -> Path:
    export_log(
        folder,
        (
            (record.body, envelope if envelopes else None)
            for record, envelope in zip(log.records, log.envelopes, strict=True)
        ),
        log.checkpoint(witnessed=witnessed),
        log.keys,
        [log.checkpoint(size) for size in (1, 500, 777) if size < log.tree.size],
    )
    return folder


def resum(folder: Path) -> None:
    """What somebody does who changes an export on purpose."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != verify.SUMS]
    digests = {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    (folder / verify.SUMS).write_bytes(verify.sums(digests))


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("log") / "export")


@pytest.fixture
def folder(log_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(log_folder, tmp_path / "log"))


def test_the_verifier_needs_the_standard_library_only() -> None:
    tree = ast.parse(Path(verify.__file__).read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
        if name
    }
    assert imported <= sys.stdlib_module_names
    # Python 3.9: no match statements, no `X | Y` outside annotations
    ast.parse(Path(verify.__file__).read_text(), feature_version=(3, 9))


def test_a_whole_log_verifies(log_folder: Path) -> None:
    status, said = verified(log_folder, "--signatures", "20")
    assert status == 0, said
    assert f"The 1000 records are those of the log '{ORIGIN}'" in said
    assert "continues 3 earlier checkpoints" in said
    assert "20 of 1000 signatures were checked, and hold" in said
    witness = WITNESS.public.vkey(WITNESS_TYPE)
    given = ("--key", LOG_KEY.public.keyid, "--witness", witness)
    status, said = verified(log_folder, "--log", str(log_folder), *given)
    assert status == 0
    assert "only one history" not in said


def test_the_script_in_the_export_verifies_it(log_folder: Path) -> None:
    import subprocess

    done = subprocess.run(
        ["python3", "-I", "verify.py"], cwd=log_folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check = ["sha256sum", "-c", "--quiet", verify.SUMS]
    assert subprocess.run(check, cwd=log_folder, check=False).returncode == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_small_logs_verify(tmp_path: Path, size: int) -> None:
    log = Log().grown(size)
    status, said = verified(exported(tmp_path / "log", log), "--signatures", "all")
    assert status == 0, said
    assert f"The {size} records" in said


def test_all_signatures_of_a_log_are_checked_where_that_is_asked(tmp_path: Path) -> None:
    log = Log().grown(30)
    forged = log.envelopes[17]
    signature = bytearray(forged.signatures[0][1])
    signature[5] ^= 1
    log.envelopes[17] = type(forged)(forged.payload, ((LOG_KEY.public.keyid, bytes(signature)),))
    folder = exported(tmp_path / "log", log)
    assert (
        verified(folder)[0] == 0
    )  # the checkpoint covers the record; its own signature was not asked
    status, said = verified(folder, "--signatures", "all")
    assert (status, "signature of record 17 does not hold" in said) == (1, True)


def lines(change: Callable[[list[bytes]], None]) -> Callable[[Path], None]:
    """A change of records together with their envelopes."""

    def apply(folder: Path) -> None:
        for name in ("records.ndjson", "envelopes.ndjson"):
            content = (folder / name).read_bytes().splitlines(keepends=True)
            change(content)
            (folder / name).write_bytes(b"".join(content))

    return apply


def swap(content: list[bytes]) -> None:
    content[300], content[301] = content[301], content[300]


def with_another(folder: Path) -> None:
    """A record that the key's holder signed, in the place of another."""
    forged = a_record(300)
    for name, new in (
        ("records.ndjson", forged.body),
        ("envelopes.ndjson", signed(forged, LOG_KEY).to_json()),
    ):
        content = (folder / name).read_bytes().splitlines(keepends=True)
        content[300] = new + b"\n"
        (folder / name).write_bytes(b"".join(content))


def cut(folder: Path) -> None:
    path = folder / "records.ndjson"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lines(lambda c: c.pop(300)), "the log has 999 records, its checkpoint says 1000"),
        (lines(lambda c: c.pop()), "the log has 999 records"),
        (lines(swap), "a record was changed, moved, left out or put in"),
        (lines(lambda c: c.insert(300, c[3])), "stands in the log twice"),
        (lines(lambda c: c.append(c.pop(0))), "a record was changed, moved"),
        (lines(lambda c: c.clear()), "the log has 0 records"),
        (with_another, "a record was changed, moved"),
        (cut, "is cut short"),
        (lambda f: (f / "checkpoint").unlink(), "checkpoint is missing"),
        (lambda f: (f / "keys.json").unlink(), "keys.json is missing"),
        (lambda f: (f / "records.ndjson").unlink(), "records.ndjson is missing"),
        (
            lambda f: (f / "checkpoint").write_bytes((f / "checkpoints/000000000777").read_bytes()),
            "the log has 1000 records, its checkpoint says 777",
        ),
        (
            lambda f: (f / "checkpoints/000000000777").write_text(
                str(Log().grown(777).checkpoint())
            ),
            "first 777 records do not lead to the root",
        ),
    ],
)
def test_deletion_reorder_truncation_and_insertion_are_detected(
    folder: Path, change: Callable[[Path], None], said: str
) -> None:
    change(folder)
    assert verified(folder)[0] == 1
    resum(folder)
    status, told = verified(folder)
    assert (status, said in told) == (1, True), told


def test_a_fork_is_detected_by_whoever_saw_the_log_before(tmp_path: Path) -> None:
    """The operator himself writes another history and signs it: all else holds."""
    (seen := tmp_path / "seen").write_text(str(LOG.checkpoint(900)))
    forked = Log()
    forked.append(*LOG.records[:899], a_record(899))
    forked.grown(RECORDS)
    folder = exported(tmp_path / "log", forked)
    status, said = verified(folder)
    assert status == 0
    assert "That there is only one history." in said
    status, said = verified(folder, "--seen", str(seen))
    assert (status, "the log was forked" in said) == (1, True)
    honest = exported(tmp_path / "honest")
    status, said = verified(honest, "--seen", str(seen))
    assert status == 0
    assert "only one history after the checkpoint of before" in said
    cut_back = exported(tmp_path / "cut", Log(records=[]).grown(100))
    status, said = verified(cut_back, "--seen", str(seen))
    assert (status, "more than this log: it was cut" in said) == (1, True)


def test_a_log_that_another_key_signed_is_refused(folder: Path) -> None:
    thief = a_key("thief")
    (folder / "checkpoint").write_text(
        str(sign(Checkpoint(ORIGIN, RECORDS, LOG.tree.root()), thief))
    )
    resum(folder)
    status, said = verified(folder)
    assert (status, "signed by none of the log's keys" in said) == (1, True)
    LOG.keys.rotated(thief.public, RECORDS, NOW).write(folder / "keys.json")
    resum(folder)
    assert verified(folder)[0] == 0  # nobody can know but who knows the key
    status, said = verified(folder, "--key", LOG_KEY.public.keyid)
    assert (status, "which you did not name" in said) == (1, True)


def test_every_flipped_byte_of_a_small_log_is_detected() -> None:
    """Digests made anew, so that the tree alone is what detects it."""
    log = Log().grown(9)
    content = b"".join(record.body + b"\n" for record in log.records)
    root = log.tree.root()
    assert root_of(content) == root
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert root_of(bytes(changed)) != root, (place, bit)


def root_of(content: bytes) -> bytes:
    peaks: list[bytes] = []
    for index, line in enumerate(content.split(b"\n")[:-1]):
        node = verify.leaf_hash(line)
        while index & 1:
            node, index = verify.node_hash(peaks.pop(), node), index >> 1
        peaks.append(node)
    return verify.root_of(peaks) if content.endswith(b"\n") else b""


def test_flipped_bytes_of_a_log_of_1000_are_detected(folder: Path) -> None:
    chance = random.Random(5)
    originals = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for _ in range(60):
        path = chance.choice(sorted(originals))
        content = bytearray(originals[path])
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(content))
        status, said = told(folder)
        assert status == 1, (path, said)
        if path.name in ("records.ndjson", "envelopes.ndjson", "checkpoint"):
            resum(folder)
            status, said = told(folder)
            # a signature in an envelope is looked at only where that is asked
            assert status == 1 or path.name == "envelopes.ndjson", (path, said)
            (folder / verify.SUMS).write_bytes(originals[folder / verify.SUMS])
        path.write_bytes(originals[path])
    assert told(folder)[0] == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_a_log_that_does_not_hold_leaves_no_file_open(folder: Path) -> None:
    """Told apart in mid-read: the envelope of a record in the middle belongs to another."""
    path = folder / "envelopes.ndjson"
    content = path.read_bytes().splitlines(keepends=True)
    content[500] = content[501]
    path.write_bytes(b"".join(content))
    resum(folder)
    options = verify.arguments(["--log", str(folder)])
    with pytest.raises(verify.Failed, match="the envelope is for another record") as raised:
        verify.check_log(folder, options, verify.Findings())
    # `raised` keeps the frames alive, so that nothing but the verifier itself can have closed it
    opened = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert raised.value
    assert not opened & {str(path), str(folder / "records.ndjson")}


def told(folder: Path) -> tuple[int, str]:
    """The verdict, in this process: sixty times a second.

    With the witness named: the line of a witness that nobody named proves nothing, and may
    be anything.
    """
    witness = WITNESS.public.vkey(WITNESS_TYPE)
    options = verify.arguments(["--log", str(folder), "--witness", witness])
    try:
        verify.check_log(folder, options, verify.Findings())
    except verify.Failed as reason:
        return 1, str(reason)
    return 0, ""


@given(old=st.integers(0, 70), new=st.integers(0, 70), data=st.data())
def test_its_consistency_check_agrees_with_ours(old: int, new: int, data: st.DataObject) -> None:
    """Two implementations, and proofs of which a part is wrong, missing or too much."""
    tree = MerkleTree(MemoryNodes())
    tree.extend(b"%d" % i for i in range(70))
    path = tree.consistency_path(min(old, new), max(old, new))
    if data.draw(st.booleans()):
        path = data.draw(st.lists(st.sampled_from([*path, EMPTY_ROOT]), max_size=8))
    texts = [
        verify.Checkpoint("", str(sign(Checkpoint(ORIGIN, n, tree.root(n)), LOG_KEY)).encode())
        for n in (old, new)
    ]
    if old > new:
        return
    try:
        ours(old, tree.root(old), new, tree.root(new), path)
        agreed = True
    except EvidenceError:
        agreed = False
    assert verify.consistent(texts[0], texts[1], path) == agreed


def test_an_export_goes_into_an_empty_folder_only(folder: Path) -> None:
    with pytest.raises(StoreError, match="is not empty; choose a new folder"):
        exported(folder)
    with pytest.raises(StoreError, match="cannot be written"):
        exported(folder / "checkpoint" / "below")


def test_an_export_without_envelopes_says_so(tmp_path: Path) -> None:
    folder = exported(tmp_path / "log", envelopes=False)
    assert not (folder / "envelopes.ndjson").exists()
    status, said = verified(folder, "--signatures", "all")
    assert status == 0
    assert "Each record has an envelope" not in said
    assert "The records' own signatures" in said


def test_wrong_options_are_named() -> None:
    for options in (["--signatures", "some"], ["--signatures", "-1"], ["--unknown"]):
        with pytest.raises(SystemExit, match="2"):
            verify.arguments(options)
