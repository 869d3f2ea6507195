"""Virtual environments of their own for clients that must not meet our dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_server import REPOSITORY

#: Kept between runs, git-ignored; a requirement in the folder's name makes it anew.
FOLDER = REPOSITORY / ".contract"


def python_with(requirement: str) -> Path:
    """The interpreter of an environment that holds `requirement`, made when it is missing.

    Args:
        requirement: pinned, as pip takes it, for example `tritonclient[http]==2.73.0`.
    """
    folder = FOLDER / requirement.replace("[", "-").replace("]", "")
    interpreter = folder / "bin" / "python"
    finished = folder / "finished"
    if not finished.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        installed = subprocess.run(
            [interpreter, "-m", "pip", "install", "--quiet", requirement],
            check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if installed.returncode:
            pytest.skip(f"NO {requirement}: pip could not install it: {installed.stderr[-300:]}")
        finished.touch()
    return interpreter
