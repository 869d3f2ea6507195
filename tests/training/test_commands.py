"""`glassline train` teaches, refuses in one message, and is quick when there is nothing to do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={"GLASSLINE_HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "120"},
        timeout=60,
    )


def command(*words: str, home: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"from training.commands import app\n{before}\napp()"
    return python(code, *words, home=home)


def test_help_teaches(tmp_path: Path) -> None:
    shown = command("cnn", "--help", home=tmp_path).stdout
    for expected in (
        "--arch", "--data", "--seed", "--epochs", "--batch-size", "--learning-rate",
        "--device", "--name", "--if-missing", "61,706 parameters", "[default: 40]",
        "glassline train cnn --seed 1",
    ):  # fmt: skip
        assert expected in shown


def test_importing_the_commands_does_not_import_torch(tmp_path: Path) -> None:
    code = "import sys, training.commands; sys.exit('torch' in sys.modules)"
    assert python(code, home=tmp_path).returncode == 0


def test_if_missing_is_done_at_once_and_without_torch(tmp_path: Path) -> None:
    for name in ("lenet-digits", "efficientnet-lite0"):
        (tmp_path / "bentoml" / "models" / name / "3").mkdir(parents=True)
    look = "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))"
    for words, name in (
        (["cnn"], "lenet-digits"),
        (["imagenet-example"], "efficientnet-lite0"),
    ):
        done = command(*words, "--if-missing", home=tmp_path, before=look)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{name}@3 is in the store: nothing to do.\nFalse\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Bad_Name"], "--name: got 'Bad_Name', wanted 1 to 63 lower-case"),
        (["--learning-rate", "0"], "--learning-rate: got 0, wanted more than 0"),
        (["--learning-rate", "nan"], "--learning-rate: got nan, wanted more than 0"),
    ],
)
def test_wrong_values_are_refused_before_training(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = command("cnn", *words, home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["cnn"], ["imagenet-example"]])
def test_without_torch_it_says_how_to_get_it(words: list[str], tmp_path: Path) -> None:
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    hide = "import sys\nsys.modules['torch'] = sys.modules['lightning'] = None"
    done = command(*words, home=tmp_path, before=hide)
    assert done.returncode == 1
    assert done.stderr == (
        "error: training needs packages that are not installed (torch, lightning). "
        "Install them with: pip install 'glassline[train]'\n"
    )
    assert done.stdout == ""


def test_stopping_by_hand_says_that_nothing_was_released(tmp_path: Path) -> None:
    code = "from training.commands import app; app()"
    training = subprocess.Popen(
        [sys.executable, "-u", "-c", code, "cnn", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"GLASSLINE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[2],
        # A shell that runs the tests in its background has all below it ignore Ctrl+C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert training.stdout
    assert "epoch 4/40" in training.stdout.readline()
    training.send_signal(signal.SIGINT)
    written, complaints = training.communicate(timeout=30)
    assert training.returncode == 1
    assert written.splitlines()[-1] == "lenet-digits: stopped; nothing was released"
    assert "Traceback" not in complaints
    assert list(tmp_path.rglob("manifest.json")) == []
