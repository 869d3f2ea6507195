"""Checkpoints are C2SP notes to the byte, and no changed one is believed."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from service.audit.checkpoint import (
    Checkpoint,
    NoteSignature,
    SignedNote,
    cosign,
    sign,
)
from service.audit.keys import LOG_TYPE, WITNESS_TYPE, PublicKey, SigningKey
from service.errors import EvidenceError
from tests.audit.openssl import openssl_verifies

ORIGIN = "glassline.example/line-3"
LOG = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
WITNESS = SigningKey("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, bytes(range(32)))
NOTE = sign(CHECKPOINT, LOG)
COSIGNED = NOTE.with_signatures([cosign(NOTE, WITNESS, 1_679_315_147)])


def test_a_checkpoint_is_written_as_c2sp_says() -> None:
    assert NOTE.text == (
        "glassline.example/line-3\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    )
    first, *rest = str(COSIGNED).removeprefix(NOTE.text + "\n").split("\n")
    assert first.startswith("\u2014 glassline.example/line-3 ")
    assert rest[0].startswith("\u2014 witness.example/w1 ")
    assert rest[1:] == [""]
    material = base64.b64decode(rest[0].split(" ")[2])
    assert material[:4] == WITNESS.public.note_id(WITNESS_TYPE)
    assert int.from_bytes(material[4:12], "big") == 1_679_315_147
    assert len(material) == 4 + 8 + 64


def test_gos_own_note_verifies() -> None:
    """The example in the documentation of golang.org/x/mod/sumdb/note."""
    key = PublicKey.from_vkey(
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", LOG_TYPE
    )
    said = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
        "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert SignedNote.parse(said.encode()).signed_by(key)


def test_openssl_verifies_the_log_and_the_witness() -> None:
    log, witness = COSIGNED.signatures
    assert openssl_verifies(LOG.public.der(), log.signature, COSIGNED.text.encode())
    message = f"cosignature/v1\ntime 1679315147\n{COSIGNED.text}".encode()
    assert openssl_verifies(WITNESS.public.der(), witness.signature[8:], message)


def test_the_same_key_has_other_ids_as_a_log_and_as_a_witness() -> None:
    assert LOG.public.note_id(LOG_TYPE) != LOG.public.note_id(WITNESS_TYPE)


def test_signatures_are_looked_for_by_name_and_id() -> None:
    read = SignedNote.parse(str(COSIGNED).encode())
    assert read == COSIGNED
    assert read.signed_by(LOG.public)
    assert read.cosigned_by(WITNESS.public) == 1_679_315_147
    stranger = SigningKey(ORIGIN, Ed25519PrivateKey.generate())
    assert not read.signed_by(stranger.public)
    assert NOTE.cosigned_by(WITNESS.public) is None
    # the very key as the log's is no witness, and the witness is no log
    assert read.cosigned_by(LOG.public) is None
    assert not read.signed_by(WITNESS.public)


def test_a_later_cosignature_replaces_the_earlier() -> None:
    later = COSIGNED.with_signatures([cosign(NOTE, WITNESS, 1_700_000_000)])
    assert later.cosigned_by(WITNESS.public) == 1_700_000_000
    assert len(later.signatures) == 2


@given(
    origin=st.from_regex(r"[a-z][a-z0-9./-]{0,30}", fullmatch=True),
    size=st.integers(0, 2**60),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(
        st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=1), max_size=3
    ),
)
def test_what_is_written_is_read_back(
    origin: str, size: int, root: bytes, extensions: list[str]
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    key = SigningKey(origin, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    written = str(sign(checkpoint, key)).encode()
    note = SignedNote.parse(written)
    assert str(note).encode() == written
    assert Checkpoint.parse(note.text) == checkpoint
    assert note.signed_by(key.public)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode()))
def test_any_bytes_are_a_note_or_refused(content: bytes) -> None:
    try:
        note = SignedNote.parse(content)
    except EvidenceError:
        return
    assert str(note).encode() == content


def believed(content: bytes) -> bool:
    """By somebody who wants the log's signature and the witness's."""
    note = SignedNote.parse(content)
    Checkpoint.parse(note.text)
    return note.signed_by(LOG.public) and note.cosigned_by(WITNESS.public) is not None


def test_every_flipped_bit_of_a_checkpoint_is_detected() -> None:
    written = str(COSIGNED).encode()
    assert believed(written)
    for place in range(8 * len(written)):
        changed = bytearray(written)
        changed[place // 8] ^= 1 << place % 8
        with contextlib.suppress(EvidenceError):
            assert not believed(bytes(changed))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n", "byte 0 is not UTF-8"),
        (b"a\r\n\n\xe2\x80\x94 a AAAAAAA=\n", "control character at 1"),
        (b"text\n", "wanted a text, an empty line"),
        (b"text\n\n\xe2\x80\x94 a AAAAAAA=", "each ended by a newline"),
        (b"text\n\n", "each ended by a newline"),
        (b"text\n\n- a AAAAAAA=\n", "is no signature line"),
        (b"text\n\n\xe2\x80\x94 a+b AAAAAAA=\n", "is no signature line"),
        (b"text\n\n\xe2\x80\x94 a  AAAAAAA=\n", "is no signature line"),
        (b"text\n\n\xe2\x80\x94 a AAAAAAB=\n", "is not base64"),
        (b"text\n\n\xe2\x80\x94 a AAAAAA==\n", "signature of a is empty"),
        (b"text\n\n" + b"\xe2\x80\x94 a AAAAAAA=\n" * 65, "65 signatures; at most 64"),
        (b"x" * (1 << 18) + b"\n", "at most 262144 are read"),
    ],
)
def test_what_is_no_note_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(EvidenceError, match=said):
        SignedNote.parse(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("origin\n1\n", "2 lines"),
        ("origin\n1\n" + "A" * 43 + "=", "2 lines"),
        ("\n1\n" + "A" * 43 + "=\n", "3 lines"),
        ("origin\n01\n" + "A" * 43 + "=\n", "'01' is no decimal"),
        ("origin\n-1\n" + "A" * 43 + "=\n", "'-1' is no decimal"),
        ("origin\n\u0661\n" + "A" * 43 + "=\n", "is no decimal"),
        ("origin\n1\n" + "A" * 40 + "\n", "root has 30 bytes"),
        ("origin\n1\n" + "A" * 42 + "B=\n", "is not base64"),
        ("origin\n1\n" + "A" * 43 + "=\n\nx\n", "5 lines"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str, said: str) -> None:
    with pytest.raises(EvidenceError, match=said):
        Checkpoint.parse(text)


def test_a_key_signs_for_its_own_log_only() -> None:
    with pytest.raises(EvidenceError, match="but the key is of 'witness.example/w1'"):
        sign(CHECKPOINT, WITNESS)
    for wrong in (replace(CHECKPOINT, extensions=("",)), replace(CHECKPOINT, root=b"short")):
        with pytest.raises(EvidenceError, match="checkpoint"):
            sign(wrong, LOG)


def test_a_cosignature_has_a_time_and_its_length() -> None:
    name, key_id = WITNESS.public.name, WITNESS.public.note_id(WITNESS_TYPE)
    for signature in (b"\xff" * 72, b"\0" * 71, b"\0" * 3):
        note = NOTE.with_signatures([NoteSignature(name, key_id, signature)])
        with pytest.raises(EvidenceError, match=r"at no time|does not hold"):
            note.cosigned_by(WITNESS.public)
