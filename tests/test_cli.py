"""The command line against a running server: what a person types and reads."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.running_server import REPOSITORY, Server, glassline


@pytest.fixture
def digit_file(digit_png: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "digit.png"
    path.write_bytes(digit_png)
    return path


def test_predict_explain_and_show_the_record(
    server: Server, digit_file: Path, tmp_path: Path
) -> None:
    predicted = glassline("predict", str(digit_file), "--url", server.url, home=server.home)
    assert predicted.returncode == 0, predicted.stderr
    record_id = re.search(r"record (\S+)", predicted.stdout)
    assert record_id
    shown = glassline("audit", "show", record_id[1], "--url", server.url, home=server.home)
    assert shown.returncode == 0, shown.stderr
    assert f'"id": "{record_id[1]}"' in shown.stdout
    picture = tmp_path / "why.png"
    why = glassline(
        "explain", str(digit_file), "-o", str(picture), "--samples", "100", "--url", server.url,
        home=server.home,
    )  # fmt: skip
    assert why.returncode == 0, why.stderr
    with Image.open(picture) as overlay:
        assert overlay.format == "PNG"


def test_models_list_shows_the_measured_figures(server: Server) -> None:
    listed = glassline("models", "list", home=server.home)
    assert listed.returncode == 0
    assert "lenet-digits" in listed.stdout
    assert "accuracy 0.9" in listed.stdout


def test_errors_are_one_message_and_exit_code_1(server: Server, tmp_path: Path) -> None:
    text = tmp_path / "not.png"
    text.write_text("not a picture")
    nowhere = "http://127.0.0.1:9"
    for arguments, words in [
        (["predict", str(text), "--url", server.url], "400"),
        (["predict", str(text), "--model", "nobody", "--url", server.url], "nobody"),
        (["predict", str(text), "--url", nowhere, "--model", "x"], "glassline serve"),
        (["audit", "show", "nothing", "--url", server.url], "404"),
        (["explain", str(text), "-o", "why.txt", "--url", server.url], ".html"),
    ]:
        done = glassline(*arguments, home=server.home)
        assert done.returncode == 1, arguments
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_serving_nothing_says_what_to_do_first(tmp_path: Path) -> None:
    done = glassline("serve", home=tmp_path)
    assert done.returncode == 1
    assert "glassline train cnn" in done.stderr


def test_serving_on_a_taken_port_says_how_to_choose_another(server: Server) -> None:
    port = server.url.rsplit(":", 1)[1]
    done = glassline("serve", home=server.home, GLASSLINE_PORT=port)
    assert done.returncode == 1
    assert "GLASSLINE_PORT=3001" in done.stderr


@pytest.mark.parametrize("command", [[], ["serve"], ["train", "cnn"], ["predict"], ["explain"]])
def test_help_teaches(command: list[str], tmp_path: Path) -> None:
    done = glassline(*command, "--help", home=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout) > 300


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = glassline("models", "list", home=tmp_path, GLASSLINE_PORT="high")
    assert done.returncode == 1
    assert "GLASSLINE_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_calls_that_serve_prints_work_when_pasted(server: Server, tmp_path: Path) -> None:
    banner = server.log.read_text()
    calls = [line for line in banner.splitlines() if "curl" in line]
    assert len(calls) == 4
    script = "set -e\n" + "\n".join(calls)
    # The example's path is relative to the folder the server was started in.
    done = subprocess.run(
        ["bash", "-c", script.replace("-o why-", f"-o {tmp_path}/why-")],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert '"label"' in done.stdout
    assert '"kind":"prediction"' in done.stdout
    picture = (tmp_path / "why-lenet-digits.png").read_bytes()
    assert Image.open(io.BytesIO(picture)).format == "PNG"
