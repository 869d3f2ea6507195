"""What is wrong is said in one line, before a single row is computed."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from service import settings
from service.cli import app
from service.errors import GlasslineError
from tests.bulk.models import release_models
from tests.running_server import REPOSITORY


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    release_models(folder)
    pq.write_table(pa.table({"x": [[3.5, 2.5]]}), folder / "rows.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"x": pa.array([], pa.list_(pa.float64()))}), folder / "none.parquet")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "nowhere.parquet"], "no such file or folder"),
        (["--batch", "broken.parquet"], "not a parquet file"),
        (["--batch", "none.parquet"], "got no rows"),
        (["--batch", "rows.txt"], "no such file"),
        (["--batch", "rows.parquet", "-m", "nobody"], "model 'nobody' is not in the store"),
        (["--batch", "rows.parquet", "-m", "parts@9"], "has no version '9'"),
        (["--batch", "rows.parquet", "-m", "sides"], "got columns 'x', wanted 'image'"),
        (["--batch", "rows.parquet", "--out", "why.csv"], "ends in .parquet"),
        (["--batch", "rows.parquet", "--set", "colour=red"], "colour"),
        (["--batch", "rows.parquet", "--set", "row=1"], "every row is explained"),
        (["--batch", "rows.parquet", "--set", "hide_color=1"], "explanation of a table"),
        (["--batch", "rows.parquet", "--samples", "1"], "num_samples"),
        (["--batch", "rows.parquet", "--samples", "9999999"], "GLASSLINE_EXPLAIN_MAX_SAMPLES"),
        (["--batch", "rows.parquet", "--target", "maybe"], "got 'maybe'"),
        (["--batch", "rows.parquet", "--address", "here"], "wanted host:port"),
        (["--batch", "rows.parquet", "--address", "127.0.0.1:9"], "nobody answers at 127.0.0.1:9"),
    ],
)
def test_one_line_says_what_was_expected(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("GLASSLINE_HOME", str(home))
    settings.load.cache_clear()
    model = [] if "-m" in arguments else ["-m", "parts"]
    done = CliRunner().invoke(app, ["explain", *model, *arguments])
    settings.load.cache_clear()
    assert done.exit_code == 1
    assert isinstance(done.exception, GlasslineError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not list(home.glob("*.parts"))
    assert "ray" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "wanted a FILE"),
        (["--workers", "2"], "wanted a FILE"),
        (["--batch", "rows.parquet", "--url", "http://127.0.0.1:1"], "no server is asked"),
    ],
)
def test_options_that_do_not_go_together(home: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["explain", *arguments])
    assert done.exit_code == 1
    assert words in done.stderr
    assert home.is_dir()


def test_without_ray_it_says_what_to_install(home: Path, tmp_path: Path) -> None:
    # Python without its site-packages, and with all that is in there but Ray.
    for entry in Path(site.getsitepackages()[0]).iterdir():
        if not entry.name.startswith("ray"):
            (tmp_path / entry.name).symlink_to(entry)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "from service.cli import main; main()", "explain", "--batch",
         str(home / "rows.parquet"), "-m", "parts"],
        env={**os.environ, "GLASSLINE_HOME": str(home), "PYTHONPATH": str(tmp_path)},
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'glassline[batch]'" in done.stderr
    assert "Traceback" not in done.stderr
