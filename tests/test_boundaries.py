"""The arrows of ARCHITECTURE.md hold, and a serving process has no torch in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.running_server import REPOSITORY, Server


def test_import_arrows_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_room_of_the_service_is_on_the_page() -> None:
    page = (REPOSITORY / "ARCHITECTURE.md").read_text()
    rooms = {
        f"{room.name}/" if room.is_dir() else room.name
        for room in (REPOSITORY / "service").iterdir()
        if (room.suffix == ".py" or (room / "__init__.py").exists()) and room.name != "__init__.py"
    }
    assert {room for room in rooms if f"`{room}`" not in page} == set()
    files = {file.name for file in REPOSITORY.glob("*/**/*.py") if ".venv" not in file.parts}
    named = {Path(name).name for name in re.findall(r"`([a-z_0-9/]+\.py)`", page)}
    assert named - files == set()


def test_the_serving_install_does_not_name_torch() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    serving = project["dependencies"] + project["optional-dependencies"]["cpu"]
    offline = ("torch", "lightning", "ray", "pyarrow")
    assert not [line for line in serving if line.startswith(offline)]


def test_processes_that_answered_have_no_torch_and_one_of_them_explains(
    server: Server, client: httpx.Client, digit_png: bytes
) -> None:
    headers = {"content-type": "image/png"}
    answer = client.post("/v2/models/lenet-digits/infer", content=digit_png, headers=headers)
    assert answer.status_code == 200
    parameters = {"num_samples": 50}
    why = client.post(
        "/v2/models/lenet-digits/explain", content=digit_png, headers=headers, params=parameters
    )
    assert why.status_code == 200
    # The kernel's view of each process: which shared objects it has mapped.
    processes = descendants(server.process.pid)
    assert len(processes) >= 4  # supervisor, two that predict, one that explains
    engines = 0
    for pid in processes:
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "libtorch" not in mapped
        assert "/torch/" not in mapped
        assert "/ray/" not in mapped
        engines += "/sklearn/" in mapped
    assert engines == 1, "who only predicts does not load what explanations take"


def descendants(pid: int) -> list[int]:
    """Process ids of a process's children, theirs, and so on."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
