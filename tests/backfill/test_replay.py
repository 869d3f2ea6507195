"""`glassline replay` on a recorded file: the log, the comparison, the pictures, bad files."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.backfill.recording import read
from service.errors import GlasslineError, TensorMismatch
from tests.running_server import glassline
from tests.small_detector import SENSORS, release_detector


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    release_detector(folder, "windows")
    values = np.random.default_rng(3).normal(size=(1500, 2)) * 0.6
    at = np.arange(1500)
    values[:, 0] += np.where((at >= 900) & (at < 940), np.where(at % 2, 5, -5), 0)
    start = datetime(2026, 3, 1, 12)
    lines = ["datetime;pressure;heat;anomaly"] + [
        f"{start + timedelta(seconds=int(n))};{p:.5f};{h:.5f};0"
        for n, (p, h) in zip(at, values, strict=True)
    ]
    fault = range(900, 940)
    lines = [line[:-1] + "1" if n - 1 in fault else line for n, line in enumerate(lines)]
    (folder / "pump.csv").write_text("\n".join(lines))
    return folder


def test_two_budgets_side_by_side_and_the_same_log_each_time(home: Path) -> None:
    logs = []
    for picture in ("one.png", "two.html"):
        log = home / "log.ndjson"
        done = glassline(
            "replay", str(home / "pump.csv"), "--model", "windows", "--budget", "1/h",
            "--compare", "5%", "-o", str(home / picture), "--log", str(log),
            "--set", "on_delay_s=3", home=home,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        logs.append(log.read_bytes())
    assert logs[0] == logs[1]
    first = json.loads(logs[0].splitlines()[0])
    assert (first["change"], first["time"]) == ("raised", "2026-03-01T12:15:03Z")
    assert first["contributors"][0]["sensor"] == "pressure"
    assert "windows@1, 5%" in done.stdout
    assert "columns left out: anomaly" in done.stderr
    image = Image.open(io.BytesIO((home / "one.png").read_bytes()))
    assert image.size[0] == 960
    page = (home / "two.html").read_text()
    assert "1 an hour" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "windows", "--budget", "often"], "wanted events an hour"),
        (["--model", "nothing"], "not in the store"),
        (["--model", "windows", "-o", "x.pdf"], ".html or .png"),
        (["--model", "windows", "--set", "on_delay=3"], "on_delay"),
        (["--model", "windows", "--time", "clock"], "no column clock"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_words(
    home: Path, arguments: list[str], said: str
) -> None:
    done = glassline("replay", str(home / "pump.csv"), *arguments, home=home)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "time,pressure\n2026-03-01T12:00:00,1\n", "sensors heat are no columns"),
        ("b.csv", "time,pressure,heat\n2026-03-01T12:00:00,1,x\n", "line 2: heat: got 'x'"),
        ("c.csv", "time,pressure,heat\n", "has no rows"),
        ("d.csv", "time,pressure,heat\nyesterday,1,2\n", "wanted RFC 3339"),
        ("e.ndjson", '{"time": 1\n', "not JSON"),
        ("f.xlsx", "", "wanted .csv"),
        ("g.csv", "when,pressure,heat\n1,2,3\n", "--time COLUMN"),
    ],
)
def test_files_that_are_no_recordings(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(GlasslineError, match=said):
        read(path, SENSORS)


def test_known_faults_are_held_against_the_alarms(home: Path) -> None:
    done = glassline(
        "replay", str(home / "pump.csv"), "--model", "windows", "--truth", "anomaly",
        "--set", "on_delay_s=3", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = {line.split("│")[1].strip(): line.split("│")[2].strip()
            for line in done.stdout.splitlines() if line.count("│") == 3}  # fmt: skip
    assert told["known faults alarmed"] == "1 of 1"
    assert told["median delay"].split() == ["3", "s"]
    assert told["alarms beside a known fault"] == "0"
    assert "left out" not in done.stderr


def test_a_unit_that_was_changed_is_refused_as_a_server_does(home: Path) -> None:
    done = glassline(
        "replay", str(home / "pump.csv"), "--model", "windows", "--set", 'ranges={"heat":[0,1]}',
        home=home,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Was the unit of the sensor changed?" in done.stderr


def test_gaps_in_a_file_are_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time\theat\tpressure\n2026-03-01T12:00:00+01:00\t\t2\n")
    recording = read(path, SENSORS)
    assert recording.times == [1_772_362_800_000_000]
    np.testing.assert_array_equal(recording.values, np.float32([[2, np.nan]]))
    with pytest.raises(TensorMismatch):
        read(path, ("speed",))
