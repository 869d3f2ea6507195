"""A model can be traced to the code and the weights it was made from."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from training.provenance import git_state, weights_digest


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "training").mkdir(parents=True)
    (folder / "training" / "script.py").write_text("epochs = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_a_clean_checkout_is_its_revision(checkout: Path) -> None:
    assert git_state(checkout / "training") == (git(checkout, "rev-parse", "HEAD"), False)


def test_a_changed_file_makes_it_dirty_and_a_new_one_does_not(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("not code")
    assert git_state(checkout / "training")[1] is False
    (checkout / "training" / "script.py").write_text("epochs = 2\n")
    assert git_state(checkout / "training")[1] is True


def test_the_revision_of_a_checkout_around_the_environment_is_not_ours(checkout: Path) -> None:
    installed = checkout / ".venv" / "site-packages" / "training"
    installed.mkdir(parents=True)
    (installed / "script.py").write_text("epochs = 1\n")
    assert git_state(installed) == ("unknown", None)


def test_outside_a_checkout_nothing_is_claimed(tmp_path: Path) -> None:
    assert git_state(tmp_path) == ("unknown", None)


def test_the_weights_digest_is_over_names_and_bytes() -> None:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-2.0)
    # IEEE 754 binary32, little-endian, by hand: 1 = 0x3f800000, -2 = 0xc0000000.
    written = b"weight" + bytes.fromhex("0000803f") + b"bias" + bytes.fromhex("000000c0")
    assert weights_digest(layer) == hashlib.sha256(written).hexdigest()
    with torch.no_grad():
        layer.bias.fill_(2.0)
    assert weights_digest(layer) != hashlib.sha256(written).hexdigest()
