"""The log's private key comes from where the operator put it, and no other is taken for it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.audit.keyholder import VARIABLE, Keyholder
from service.audit.keyset import KeySet
from service.audit.log import AuditLog
from service.audit.log_writer import LogWriter
from service.audit.store import RecordStore
from service.errors import KeyRefused
from tests.audit.evidence import a_record

ORIGIN = "log.example/l"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key as an operator makes it."""
    path = tmp_path / "operator.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True)
    path.chmod(0o600)
    return path


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    holder = Keyholder(tmp_path / "keys", environment={})
    fresh = holder.fresh(ORIGIN)
    (path,) = (tmp_path / "keys").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Keyholder(tmp_path / "keys", environment={}).private(fresh.public)
    assert again.sign(b"x") == fresh.sign(b"x")
    with pytest.raises(KeyRefused, match="need the same key"):
        Keyholder(tmp_path / "other", environment={}).private(fresh.public)


def test_the_environment_goes_before_the_file_and_both_before_the_folder(
    tmp_path: Path, file: Path
) -> None:
    folder = tmp_path / "keys"
    by_file = Keyholder(folder, file, {}).fresh(ORIGIN)
    other = Keyholder(folder, environment={}).fresh(ORIGIN)
    pem = next(folder.iterdir()).read_text()
    for text in (pem, pem.replace("\n", "\\n")):  # as secrets of platforms often come
        by_variable = Keyholder(folder, file, {VARIABLE: text}).fresh(ORIGIN)
        assert by_variable.public == other.public != by_file.public
    with pytest.raises(KeyRefused, match="operator.pem holds"):
        Keyholder(folder, file, {}).private(other.public)
    with pytest.raises(KeyRefused, match=f"{VARIABLE} holds"):
        Keyholder(folder, file, {VARIABLE: pem}).private(by_file.public)
    file.chmod(0o644)
    with pytest.raises(KeyRefused, match="mode 0644"):
        Keyholder(folder, file, {}).fresh(ORIGIN)


def test_a_new_key_in_the_operators_file_is_taken_by_a_rotation_and_not_before(
    tmp_path: Path, file: Path
) -> None:
    log = LogWriter(
        RecordStore(f"sqlite:///{tmp_path / 'records.db'}"),
        Keyholder(tmp_path / "keys", file, {}), ORIGIN,
    )  # fmt: skip
    log.append([a_record(1)])
    old = file.read_bytes()
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(file)], check=True)
    again = LogWriter(log.store, Keyholder(tmp_path / "keys", file, {}))
    with pytest.raises(KeyRefused, match="glassline audit keys rotate"):
        again.append([a_record(2)])
    fresh = Keyholder(tmp_path / "keys", file, {}).fresh(ORIGIN).public

    def rotated(keys: KeySet, size: int) -> KeySet:
        return keys.rotated(fresh, size, datetime.now(UTC))

    again.change_keys(rotated)
    again.append([last := a_record(3)])
    assert AuditLog(log.store).evidence(last.id).envelope.signatures[0][0] == fresh.keyid
    assert AuditLog(log.store).size() == 2
    assert old != file.read_bytes()
    log.store.close()
