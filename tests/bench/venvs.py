"""A virtual environment for each competitor, kept below `.bench/` between runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: Git-ignored; graphs, environments and, while a bench runs, homes.
FOLDER = REPOSITORY / ".bench"
INSTALL_SECONDS = 900


class NotInstalled(Exception):
    """pip could not make an environment; the message says what pip said."""


def python_with(name: str, requirements: tuple[str, ...], bare: tuple[str, ...] = ()) -> Path:
    """The interpreter of an environment with exactly these requirements, made when missing.

    Args:
        name: of the competitor.
        requirements: pinned; other pins make another environment.
        bare: pinned as well, installed without what they say they need.

    Raises:
        NotInstalled: venv or pip failed, or took longer than INSTALL_SECONDS.
    """
    digest = hashlib.sha256("\n".join((sys.version, *requirements, *bare)).encode()).hexdigest()[:8]
    folder = FOLDER / "venvs" / f"{name}-{digest}"
    interpreter, finished = folder / "bin" / "python", folder / "finished"
    if finished.exists():
        return interpreter
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(interpreter), "-m", "pip", "install", "--quiet", *requirements],
        *([[str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps", *bare]] * bool(bare)),
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotInstalled(f"installing took more than {INSTALL_SECONDS} s") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "WARNING" not in line]
            raise NotInstalled(" ".join(said)[-400:] or f"exit code {done.returncode}")
    finished.touch()
    return interpreter


def versions(interpreter: Path) -> dict[str, str]:
    """Every distribution that an environment holds."""
    program = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    done = subprocess.run(
        [interpreter, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(found.items()))
