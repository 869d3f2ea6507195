"""A private key is read by its owner alone; a public one is believed as far as it reaches."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.audit.keys import LOG_TYPE, WITNESS_TYPE, PublicKey, SigningKey
from service.audit.keyset import KeySet
from service.errors import EvidenceError, KeyRefused
from tests.audit.openssl import openssl_verifies

NAME = "glassline.example/line-3"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
#: RFC 8032 sec. 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNED_72 = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def key(seed: bytes = SEED, name: str = NAME) -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(seed))


def test_signatures_are_those_of_rfc_8032() -> None:
    assert key().public.raw.hex() == PUBLIC
    assert key().sign(b"\x72").hex() == SIGNED_72
    assert key().public.verify(bytes.fromhex(SIGNED_72), b"\x72")
    assert not key().public.verify(bytes.fromhex(SIGNED_72), b"\x73")


def test_openssl_verifies_what_we_sign_and_no_other() -> None:
    made = key().sign(b"a record")
    assert openssl_verifies(key().public.der(), made, b"a record")
    assert not openssl_verifies(key().public.der(), made, b"a recorD")


def test_a_key_id_is_the_digest_that_openssl_shows(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    made = SigningKey.create(path, NAME)
    der = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    (tmp_path / "der").write_bytes(der)
    said = subprocess.run(["sha256sum", tmp_path / "der"], capture_output=True, check=True).stdout
    assert said.decode().split()[0] == made.public.keyid


def test_a_created_key_is_its_owners_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key.pem"
    made = SigningKey.create(path, NAME)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.from_file(path, NAME).public == made.public
    before = path.read_bytes()
    with pytest.raises(KeyRefused, match="there is one already"):
        SigningKey.create(path, NAME)
    assert path.read_bytes() == before


def test_a_key_that_openssl_made_is_read_from_file_and_environment(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    path.chmod(0o400)
    read = SigningKey.from_file(path, NAME)
    text = path.read_text()
    for said in (text, text.replace("\n", "\\n")):  # as compose files and CI settings keep it
        assert SigningKey.from_environment("KEY", NAME, {"KEY": said}).public == read.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o610])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    SigningKey.create(path, NAME)
    path.chmod(mode)
    with pytest.raises(KeyRefused, match=f"mode {mode:04o} lets others.*chmod 600"):
        SigningKey.from_file(path, NAME)


def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(KeyRefused, match="No such file"):
        SigningKey.from_file(path, NAME)
    with pytest.raises(KeyRefused, match="directory|ordinary"):
        SigningKey.from_file(tmp_path, NAME)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyRefused, match="no ordinary file"):
        SigningKey.from_file(tmp_path / "pipe", NAME)
    path.write_text("hunter2")
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="no private key in PEM") as refused:
        SigningKey.from_file(path, NAME)
    assert "hunter2" not in str(refused.value)
    for arguments, said in (
        (["genpkey", "-algorithm", "x25519"], "X25519 key, wanted Ed25519"),
        (["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"], "is encrypted"),
    ):
        subprocess.run(["openssl", *arguments, "-out", path], check=True, capture_output=True)
        path.chmod(0o600)
        with pytest.raises(KeyRefused, match=said):
            SigningKey.from_file(path, NAME)
    with pytest.raises(KeyRefused, match="KEY is not set"):
        SigningKey.from_environment("KEY", NAME, {})
    with pytest.raises(KeyRefused, match="no private key in PEM"):
        SigningKey.from_environment("KEY", NAME, {"KEY": "hunter2"})


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "x" * 256])
def test_names_that_a_note_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(KeyRefused, match="key name"):
        PublicKey(name, bytes(32))


def test_verifier_keys_are_those_of_go_and_are_checked() -> None:
    """The verifier key in the documentation of golang.org/x/mod/sumdb/note."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    read = PublicKey.from_vkey(text, LOG_TYPE)
    assert read.name == "PeterNeumann"
    assert read.vkey(LOG_TYPE) == text
    for wrong, said in (
        (text.replace("c74f", "c74e"), "id should be c74f20a3"),
        (text.replace("ARpc", "ARpd"), "a character was changed"),
        (text.replace("+", " "), "not of the form"),
        ("name+00000000+", "type none, wanted 01"),
        (key().public.vkey(WITNESS_TYPE), "type 04, wanted 01"),
        ("name+00000000+AQAA", "2 bytes; Ed25519 has 32"),
    ):
        with pytest.raises(KeyRefused, match=said):
            PublicKey.from_vkey(wrong, LOG_TYPE)


def test_a_key_set_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "keys.json"
    witness = key(bytes(32), "witness.example/w1").public
    keys = KeySet.of(key().public, NOW).with_witness(witness).with_witness(witness)
    keys.write(path)
    read = KeySet.read(path)
    assert read.to_json() == keys.to_json() == path.read_bytes()
    assert read.active() == key().public
    assert read.witnesses == (witness,)
    assert list(path.parent.iterdir()) == [path]


def test_a_retired_key_counts_for_what_was_in_the_log() -> None:
    old, new = key().public, key(bytes(32)).public
    keys = KeySet.from_json(KeySet.of(old, NOW).rotated(new, 100, NOW).to_json())
    assert keys.active() == new
    assert keys.for_record(old.keyid, 99) == old
    assert keys.for_record(new.keyid, 100) == new
    with pytest.raises(EvidenceError, match="retired when the log had 100 records"):
        keys.for_record(old.keyid, 100)
    assert keys.for_checkpoint(100) == [old, new]
    assert keys.for_checkpoint(101) == [new]


def test_a_revoked_key_counts_for_no_checkpoint() -> None:
    stolen, new = key().public, key(bytes(32)).public
    keys = KeySet.of(stolen, NOW).rotated(new, 100, NOW).revoked(stolen.keyid, 60, NOW, "stolen")
    keys = KeySet.from_json(keys.to_json())
    assert keys.for_record(stolen.keyid, 59) == stolen
    with pytest.raises(EvidenceError, match="revoked when the log had 60 records"):
        keys.for_record(stolen.keyid, 60)
    assert keys.for_checkpoint(10) == [new]
    # what was said of it first cannot be widened afterwards
    assert keys.revoked(stolen.keyid, 90, NOW, "?").for_checkpoint(10) == [new]
    with pytest.raises(EvidenceError, match="revoked when the log had 60"):
        keys.revoked(stolen.keyid, 90, NOW, "?").for_record(stolen.keyid, 60)


def test_a_set_without_an_active_key_signs_nothing() -> None:
    keys = KeySet.of(key().public, NOW).revoked(key().public.keyid, 3, NOW, "lost")
    with pytest.raises(KeyRefused, match="none is active"):
        keys.active()


def test_what_does_not_belong_into_a_set_is_refused(tmp_path: Path) -> None:
    keys = KeySet.of(key().public, NOW)
    with pytest.raises(KeyRefused, match="stands there twice"):
        keys.rotated(key().public, 1, NOW)
    with pytest.raises(KeyRefused, match="key of 'other' cannot sign"):
        keys.rotated(key(name="other").public, 1, NOW)
    with pytest.raises(KeyRefused, match="none has the id"):
        keys.revoked("0" * 64, 1, NOW, "")
    with pytest.raises(EvidenceError, match="is none of"):
        keys.for_record("0" * 64, 0)
    with pytest.raises(KeyRefused, match="cannot be read"):
        KeySet.read(tmp_path / "none")
    for content, said in (
        (b"{", "key set"),
        (keys.to_json().replace(b"keys/1", b"keys/2"), "schema"),
        (keys.to_json().replace(PUBLIC[:0].encode() + b'"keyid":"', b'"keyid":"0'), "keyid"),
        (keys.to_json().replace(b'"public_key":"P', b'"public_key":"Q'), "in truth"),
    ):
        with pytest.raises(KeyRefused, match=said):
            KeySet.from_json(content)
    two = keys.to_json().decode()
    other = KeySet.of(key(bytes(32)).public, NOW).to_json().decode()
    entry = other[other.index('"keys":[') + 8 : other.index('],"origin"')]
    with pytest.raises(KeyRefused, match="more than one is active"):
        KeySet.from_json(two.replace('"keys":[', f'"keys":[{entry},').encode())
