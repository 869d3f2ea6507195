"""A bundle proves what it holds, and nothing in it can be changed unnoticed."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.audit import verify
from service.audit.bundle import Erased, Evidence, Present, Withheld, bundle
from service.audit.envelope import signed
from service.audit.keys import WITNESS_TYPE, PublicKey
from service.audit.keyset import KeySet
from service.audit.record import Payload
from service.errors import CorruptLog
from tests.audit.evidence import (
    LOG_KEY,
    NOW,
    WITNESS,
    Log,
    a_key,
    a_record,
    packed_again,
    resummed,
    unpacked,
    verified,
)

IMAGE = Payload("image", "image/png", b"\x89PNG\r\n and so on")
NOTES = Payload("odd/../name", "text/plain", "Prüfling Ω".encode())


def a_log() -> Log:
    log = Log().grown(17)
    log.append(a_record(17, IMAGE, NOTES))
    return log.grown(40)


LOG = a_log()
BUNDLE = bundle(LOG.evidence(17, witnessed=True))
FILES = {name: content for name, content in verify.unpack(BUNDLE).items() if name != verify.SUMS}


def test_a_stranger_verifies_a_bundle_with_the_script_in_it(tmp_path: Path) -> None:
    folder = unpacked(BUNDLE, tmp_path / "bundle")
    done = subprocess.run(
        ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "python3", "-I", "verify.py"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IT HOLDS." in done.stdout
    assert "record 17, counted from 0, of the 40" in done.stdout
    assert "That this script is honest: it came with what it checks." in done.stdout
    assert subprocess.run(["sha256sum", "-c", "--quiet", verify.SUMS], cwd=folder).returncode == 0


def test_zip_and_folder_are_the_same_to_it(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(BUNDLE)
    status, said = verified(tmp_path / "b.zip")
    assert (status, said.count("Payload '")) == (0, 2)
    unpacked(BUNDLE, tmp_path / "folder")
    assert packed_again(tmp_path / "folder") == BUNDLE
    again = verified(tmp_path / "folder")[1]
    assert again.splitlines()[1:] == said.splitlines()[1:]


def test_any_program_unpacks_it() -> None:
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as archive:
        assert archive.testzip() is None
        assert {n: archive.read(n) for n in archive.namelist()} == verify.unpack(BUNDLE)


def test_the_same_evidence_makes_the_same_bytes() -> None:
    assert bundle(LOG.evidence(17, witnessed=True)) == BUNDLE


def test_what_is_known_from_elsewhere_proves_more(tmp_path: Path) -> None:
    (path := tmp_path / "b.zip").write_bytes(BUNDLE)
    witness = WITNESS.public.vkey(WITNESS_TYPE)
    status, said = verified(path)
    assert "Whose key" in said
    assert "only one history. Whoever holds the signing key" in said
    assert "What ['witness.example/w1'] signed: nobody here has their keys." in said
    status, said = verified(path, "--key", LOG_KEY.public.keyid, "--witness", witness)
    assert status == 0
    assert "Whose key" not in said
    assert "only one history" not in said
    assert "Witness witness.example/w1, whom you named, signed at 2026-11-23 12:00:00 UTC" in said
    assert verified(path, "--key", LOG_KEY.public.vkey(1))[0] == 0
    status, said = verified(path, "--key", a_key("another").public.keyid)
    assert (status, "which you did not name" in said) == (1, True)
    other = a_key("another", "witness.example/w2").public.vkey(WITNESS_TYPE)
    status, said = verified(path, "--witness", other)
    assert (status, "not cosigned by witness witness.example/w2" in said) == (1, True)


def test_a_key_set_from_elsewhere_stands_for_the_one_in_the_bundle(tmp_path: Path) -> None:
    """A thief's bundle says that the key is active; the operator's own list knows better."""
    (path := tmp_path / "b.zip").write_bytes(BUNDLE)
    keys = LOG.keys.rotated(a_key("new").public, 50, NOW)
    keys.write(tmp_path / "keys.json")
    assert verified(path, "--keys", str(tmp_path / "keys.json"))[0] == 0
    keys.revoked(LOG_KEY.public.keyid, 10, NOW, "stolen").write(tmp_path / "keys.json")
    status, said = verified(path, "--keys", str(tmp_path / "keys.json"))
    assert (status, "signed by a key that was revoked" in said) == (1, True)
    keys.revoked(LOG_KEY.public.keyid, 30, NOW, "stolen").write(tmp_path / "keys.json")
    status, said = verified(path, "--keys", str(tmp_path / "keys.json"))
    assert (status, f"{LOG_KEY.public.keyid}, which was revoked" in said) == (1, True)


def test_old_records_stay_verifiable_after_rotation_and_revocation(tmp_path: Path) -> None:
    log = a_log()
    log.keys = log.keys.rotated(a_key("new").public, 40, NOW)
    log.key = a_key("new")
    log.grown(50)
    for keys in (log.keys, log.keys.revoked(LOG_KEY.public.keyid, 40, NOW, "stolen")):
        log.keys = keys
        for index in (17, 45):
            (path := tmp_path / "b.zip").write_bytes(bundle(log.evidence(index)))
            status, said = verified(path, "--key", log.key.public.keyid)
            assert status == 0, said


def test_erased_and_withheld_payloads_are_told_and_the_rest_holds(tmp_path: Path) -> None:
    evidence = LOG.evidence(17, [Erased("image", NOW), Withheld("odd/../name")])
    (path := tmp_path / "b.zip").write_bytes(bundle(evidence))
    status, said = verified(path)
    assert status == 0
    assert "What payload 'image' was: it was erased at 2026-11-23T12:00:00.000000Z." in said
    assert "What payload 'odd/../name' was: it was left out." in said
    assert IMAGE.content not in path.read_bytes()
    assert IMAGE.salt.hex().encode() not in path.read_bytes()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same OpenSSL through `cryptography`: tens of thousands of commands take too long."""

    def holds(_: verify.OpenSSL, key: bytes, signature: bytes, message: bytes) -> bool:
        Ed25519PublicKey.from_public_bytes(key)
        return PublicKey("x", key).verify(signature, message)

    monkeypatch.setattr(verify.OpenSSL, "holds", holds)
    return


def holds(files: dict[str, bytes]) -> bool:
    options = verify.arguments(["--witness", WITNESS.public.vkey(WITNESS_TYPE)])
    return no_complaint(files, options)


def no_complaint(files: dict[str, bytes], options: argparse.Namespace) -> bool:
    try:
        verify.check_bundle(files, options, verify.Findings())
    except (verify.Failed, ValueError):
        return False
    return True


def test_every_flipped_byte_of_the_zip_is_detected() -> None:
    for place in range(len(BUNDLE)):
        changed = bytearray(BUNDLE)
        changed[place] ^= 1 << place % 8
        assert not intact(bytes(changed)), place


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(place=st.integers(0, len(BUNDLE) - 1), mask=st.integers(1, 255))
def test_a_flipped_byte_of_the_zip_is_detected(place: int, mask: int) -> None:
    changed = bytearray(BUNDLE)
    changed[place] ^= mask
    assert not intact(bytes(changed))


@given(start=st.integers(0, len(BUNDLE) - 1), end=st.integers(0, len(BUNDLE)))
def test_a_cut_of_the_zip_is_detected(start: int, end: int) -> None:
    assert not intact(BUNDLE[:start])
    assert end <= start or not intact(BUNDLE[:start] + BUNDLE[end:])
    assert not intact(BUNDLE + BUNDLE[start:])


def intact(zipped: bytes) -> bool:
    """Whether the files are those that were written, before any signature is looked at."""
    try:
        files = verify.unpack(zipped)
        listed = files.pop(verify.SUMS, b"")
        digests = {name: verify.hashlib.sha256(c).hexdigest() for name, c in files.items()}
        return set(verify.check_sums(listed, digests.get)) == set(files)
    except verify.Failed:
        return False


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    "name",
    ["record.json", "envelope.json", "proof.json", "checkpoint", "payloads.json",
     "payloads/00.png", "payloads/01.txt"],
)  # fmt: skip
def test_every_flipped_byte_is_detected_even_where_the_digests_were_made_anew(name: str) -> None:
    assert holds(FILES)
    for place in range(len(FILES[name])):
        changed = bytearray(FILES[name])
        changed[place] ^= 1 << place % 8
        assert not holds({**FILES, name: bytes(changed)}), (name, place)


@pytest.mark.usefixtures("in_process")
def test_what_counts_in_the_key_set_is_held() -> None:
    said = json.loads(FILES["keys.json"])
    for path in (("origin",), ("schema",), ("keys", 0, "keyid"), ("keys", 0, "public_key")):
        *way, last = path
        changed = json.loads(FILES["keys.json"])
        holder = changed
        for step in way:
            holder = holder[step]
        holder[last] = "x" + holder[last][1:]
        assert not holds({**FILES, "keys.json": json.dumps(changed).encode()}), path
    said["keys"][0]["until_size"] = 17
    assert not holds({**FILES, "keys.json": json.dumps(said).encode()})


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_further_file_is_detected(name: str) -> None:
    assert not holds({n: c for n, c in FILES.items() if n != name})
    assert not holds({**FILES, "payloads/99.bin": b"proof of nothing"})


@pytest.mark.usefixtures("in_process")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    name=st.sampled_from(sorted(set(FILES) - {"README.txt", "verify.py"})),
    content=st.sampled_from(
        [b"", b"null", b"[]", b"{}", b"[" * 5000, b"1" * 5000, b"NaN", b'{"a":1,"a":1}', b"\xff"]
    )
    | st.binary(max_size=40),
)
def test_any_bytes_in_any_file_are_refused_and_never_a_traceback(name: str, content: bytes) -> None:
    assert not holds({**FILES, name: content})


@pytest.mark.usefixtures("in_process")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_a_member_of_another_type_is_refused_and_never_a_traceback(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["envelope.json", "keys.json", "payloads.json", "proof.json"]))
    said = json.loads(FILES[name])
    holder, way = said, []
    while True:
        steps = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        step = data.draw(st.sampled_from(steps))
        way.append(step)
        if (
            not isinstance(holder[step], (dict, list))
            or not holder[step]
            or data.draw(st.booleans())
        ):
            break
        holder = holder[step]
    before = holder[step]
    holder[step] = data.draw(
        st.sampled_from([None, True, -1, 2**70, 1.5, "", "\ud800", [], {}, [None], {"a": []}])
    )
    informative = {"created_at", "ended_at", "reason", "until_size"}
    content = json.dumps(said).encode()
    if before != holder[step] and not informative & set(map(str, way)):
        assert not holds({**FILES, name: content}), (name, way, holder[step])


def test_a_bundle_that_would_not_verify_is_not_made() -> None:
    sound = LOG.evidence(17)
    other = a_record(99)
    grown = a_log().grown(41)
    retired = LOG.keys.rotated(a_key("new").public, 30, NOW)
    present = Present(IMAGE.name, IMAGE.content, IMAGE.salt)
    for wrong, said in (
        (replace(sound, index=18), "inclusion proof"),
        (replace(sound, body=other.body), "inclusion proof"),
        (replace(sound, envelope=signed(other, LOG_KEY)), "signed for a record"),
        (replace(sound, checkpoint=grown.checkpoint()), "inclusion proof"),
        (replace(sound, keys=retired), "signed by no key that counts"),
        (replace(sound, keys=KeySet.of(a_key("new").public, NOW)), "no key that counts"),
        (replace(sound, payloads=[]), "the record has payloads"),
        (replace(sound, payloads=[present, replace(present, name=NOTES.name)]), "not what was"),
    ):
        assert isinstance(wrong, Evidence)
        with pytest.raises(CorruptLog, match=said):
            bundle(wrong)


def test_a_zip_that_was_packed_again_is_told_apart(tmp_path: Path) -> None:
    unpacked(BUNDLE, tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in (tmp_path / "folder").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "folder"))
    status, said = verified(tmp_path / "b.zip")
    assert (status, "unpack it and verify the folder" in said) == (1, True)
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    status, said = verified(tmp_path / "folder")
    assert (status, "do not belong here: ['notes.txt']" in said) == (0, True)


def test_bundles_of_the_same_log_are_compared_with_what_was_seen(tmp_path: Path) -> None:
    (path := tmp_path / "b.zip").write_bytes(BUNDLE)
    seen, proof = tmp_path / "seen", tmp_path / "proof"
    seen.write_text(str(LOG.checkpoint()))
    status, said = verified(path, "--seen", str(seen))
    assert (status, "agrees with the checkpoint of before, of size 40" in said) == (0, True)
    seen.write_text(str(LOG.checkpoint(25)))
    status, said = verified(path, "--seen", str(seen))
    assert (status, "get the consistency proof between them" in said) == (2, True)
    nodes = [verify.base64.b64encode(n).decode() for n in LOG.tree.consistency_path(25)]
    proof.write_text(json.dumps({"path": nodes}))
    given = ("--seen", str(seen), "--consistency", str(proof))
    assert verified(path, *given)[0] == 0
    seen.write_text(str(a_log().checkpoint(25)))  # records have other ids there: a fork
    status, said = verified(path, *given)
    assert (status, "a fork" in said) == (1, True)
    seen.write_text(str(a_log().checkpoint()))
    status, said = verified(path, "--seen", str(seen))
    assert (status, "a fork" in said) == (1, True)


def test_what_cannot_be_looked_at_is_no_verdict(tmp_path: Path) -> None:
    (path := tmp_path / "b.zip").write_bytes(BUNDLE)
    for options, said in (
        (["--openssl", "/nonexistent"], "cannot be run"),
        (["--openssl", "/bin/true"], "OpenSSL 3.0 or newer can"),
        (["--openssl", "/bin/echo"], "OpenSSL 3.0 or newer can"),
        (["--key", "nonsense"], "no verifier key"),
        (["--witness", LOG_KEY.public.vkey(1)], "no verifier key of type 04"),
        (["--keys", "/nonexistent"], "No such file"),
        (["--seen", "/nonexistent"], "No such file"),
    ):
        status, told = verified(path, *options)
        assert (status, said in told) == (2, True), told
    assert verified(tmp_path / "none")[0] == 2
    (tmp_path / "empty").mkdir()
    assert verified(tmp_path / "empty")[0] == 1


def test_an_openssl_that_says_yes_to_everything_is_noticed(tmp_path: Path) -> None:
    (path := tmp_path / "b.zip").write_bytes(BUNDLE)
    lying = tmp_path / "openssl"
    lying.write_text("#!/bin/sh\necho Signature Verified Successfully\n")
    lying.chmod(0o755)
    status, said = verified(path, "--openssl", str(lying))
    assert (status, "wrong answers to the test vectors of RFC 8032" in said) == (2, True)


def test_a_bundle_cannot_steer_the_terminal(tmp_path: Path) -> None:
    log = Log().grown(3)
    log.append(a_record(3, Payload("\x1b[2J\u202efake", "text/plain", b"")))
    (path := tmp_path / "b.zip").write_bytes(bundle(log.evidence(3)))
    status, said = verified(path)
    assert status == 0
    assert "\\x1b[2J\\u202efake" in said
    assert "\x1b" not in said


def test_resumming_is_what_the_writer_does() -> None:
    assert resummed(FILES) == BUNDLE
