"""What is shipped is what is declared."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.running_server import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_bento_installs_exactly_the_serving_dependencies() -> None:
    lines = (REPOSITORY / "deploy/requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if not line.startswith("#")]
    assert requirements == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"]


@pytest.mark.slow
def test_bentoml_build_succeeds_and_holds_no_training_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "BENTOML_HOME": str(tmp_path / "bentoml"),
            "GLASSLINE_HOME": str(tmp_path),
            "BENTOML_DO_NOT_TRACK": "True",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sources = next((tmp_path / "bentoml" / "bentos").glob("glassline/*/src"))
    assert (sources / "service/app.py").is_file()
    assert not (sources / "training").exists()
    assert not (sources / "tests").exists()
