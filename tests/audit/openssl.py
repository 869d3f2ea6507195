"""What the `openssl` command says of a signature."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def openssl_verifies(public_der: bytes, signature: bytes, message: bytes) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (("key", public_der), ("sig", signature), ("in", message)):
            (folder / file).write_bytes(content)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-keyform", "DER",
             "-rawin", "-in", "in", "-sigfile", "sig"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ("Verified Successfully" in done.stdout) == (done.returncode == 0), done
    return done.returncode == 0
