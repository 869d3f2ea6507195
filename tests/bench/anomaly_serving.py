"""How quick detectors are served: windows a second on one core, and pictures with their heat map.

  python tests/bench/anomaly_serving.py               both, some two minutes
  python tests/bench/anomaly_serving.py --only windows --recording none

Real models of `glassline train autoencoder`, trained for a moment: a convolutional autoencoder of
60 steps x 8 sensors, and one of 256 x 256 pictures. The server, its record writer included, is
held to one core with --cores 0; the load comes from the others. Windows go as binary tensors, a
batch a request, and `score` and `verdict` come back; each verdict is held against the score.
Recording is on unless it is said: what it costs is inputs compressed, hashed and on disk.
Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.running_server import Server, glassline, start_server

STEPS, SENSORS, SIDE = 60, 8, 256


def released(home: Path, kinds: list[str]) -> None:
    """`bench-windows` and `bench-pictures`, by the real command."""
    random = np.random.default_rng(0)
    if "windows" in kinds:
        time_ = np.arange(4000)[:, None] / np.linspace(5, 40, SENSORS)
        rows = np.sin(time_) + random.normal(0, 0.1, (4000, SENSORS))
        names = ",".join(f"s{at}" for at in range(SENSORS))
        np.savetxt(home / "rows.csv", rows, delimiter=",", header=names, comments="", fmt="%.5f")
        train(
            home,
            "--data",
            str(home / "rows.csv"),
            "--window",
            str(STEPS),
            "--stride",
            "4",
            "--name",
            "bench-windows",
        )
    if "pictures" in kinds:
        folder = home / "good"
        folder.mkdir()
        for at in range(120):
            Image.fromarray(picture(random)).save(folder / f"{at:02d}.png")
        train(
            home,
            "--data",
            str(folder),
            "--size",
            str(SIDE),
            "--scores",
            "peak",
            "--name",
            "bench-pictures",
        )


def train(home: Path, *arguments: str) -> None:
    done = glassline(
        "train", "autoencoder", *arguments, "--epochs", "1", "--budget", "0.2", home=home
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def picture(random: np.random.Generator) -> NDArray[np.uint8]:
    """Conductors on a board, with the noise of a camera."""
    y, x = np.mgrid[:SIDE, :SIDE]
    lines = 70 * (np.sin(x / 9) > 0.3) + 50 * (np.sin(y / 13) > 0.5)
    return np.clip(60 + lines + random.normal(0, 6, (SIDE, SIDE)), 0, 255).astype(np.uint8)


class Caller:
    """One kept connection."""

    def __init__(self, server: Server) -> None:
        self._http = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=120)

    def post(
        self, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._http.request("POST", path, body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {content[:400]!r}")
        return answer, content


def windows(server: Server, batch: int, seconds: float, connections: int) -> float:
    """Windows a second over some connections, batches of binary tensors."""
    values = np.random.default_rng(1).normal(size=(batch, STEPS, SENSORS)).astype(np.float32)
    asked = {
        "inputs": [
            {
                "name": "window",
                "datatype": "FP32",
                "shape": [batch, STEPS, SENSORS],
                "parameters": {"binary_data_size": values.nbytes},
            }
        ],
        "outputs": [
            {"name": name, "parameters": {"binary_data": True}}
            for name in ("score", "verdict", "threshold")
        ],
    }
    header = json.dumps(asked).encode()
    body = header + values.tobytes()
    headers = {"inference-header-content-length": str(len(header))}
    path = "/v2/models/bench-windows/infer"
    check(*Caller(server).post(path, body, headers), batch)
    until = time.perf_counter() + seconds

    def ask(_: int) -> int:
        caller, done = Caller(server), 0
        while time.perf_counter() < until:
            caller.post(path, body, headers)
            done += batch
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        done = sum(pool.map(ask, range(connections)))
    return done / (time.perf_counter() - start)


def check(answer: http.client.HTTPResponse, content: bytes, batch: int) -> None:
    """Every verdict is that of its score."""
    size = int(answer.headers["inference-header-content-length"])
    at, found = size, {}
    for one in json.loads(content[:size])["outputs"]:
        end = at + one["parameters"]["binary_data_size"]
        found[one["name"]] = content[at:end]
        at = end
    score, limit = (np.frombuffer(found[name], "<f4") for name in ("score", "threshold"))
    said = found["verdict"].count(b"anomaly")
    assert len(score) == batch
    assert said == int((score > limit).sum())


def pictures(server: Server, count: int, headers: dict[str, str]) -> NDArray[np.float64]:
    """Milliseconds of each of `count` pictures, one after the other."""
    random, caller, bodies = np.random.default_rng(2), Caller(server), []
    for _ in range(16):
        file = io.BytesIO()
        Image.fromarray(picture(random)).save(file, "PNG")
        bodies.append(file.getvalue())
    taken = []
    for at in range(count + 10):
        start = time.perf_counter()
        _, content = caller.post("/v2/models/bench-pictures/infer", bodies[at % 16], headers)
        taken.append((time.perf_counter() - start) * 1e3)
    wanted = b"\x89PNG" if "accept" in headers else b"{"
    assert content.startswith(wanted)
    return np.array(taken[10:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("windows", "pictures"))
    parser.add_argument("--recording", choices=("all", "none", "both"), default="both")
    parser.add_argument("--cores", default="0", help="of the server, by number; default 0")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=2, help="that send windows; default 2")
    parser.add_argument("--pictures", type=int, default=300)
    options = parser.parse_args()
    kinds = [options.only] if options.only else ["windows", "pictures"]
    own = {int(core) for core in options.cores.split(",")}
    others = (os.sched_getaffinity(0) - own) or own
    with tempfile.TemporaryDirectory(prefix="glassline-bench-") as scratch:
        home = Path(scratch)
        released(home, kinds)
        for recording in ("all", "none") if options.recording == "both" else (options.recording,):
            os.sched_setaffinity(0, own)  # the server inherits it
            server = start_server(
                home, home / "log", GLASSLINE_RECORD_PREDICTIONS=recording, GLASSLINE_THREADS="1"
            )
            os.sched_setaffinity(0, others)
            report(server, kinds, recording, options)
            server.stop()


def report(server: Server, kinds: list[str], recording: str, options: argparse.Namespace) -> None:
    if "windows" in kinds:
        for batch in (64, 256, 1024):
            rate = windows(server, batch, options.seconds, options.connections)
            print(
                f"windows {STEPS} x {SENSORS}, batches of {batch}, recorded: {recording}: "
                f"{rate:,.0f}/s",
                flush=True,
            )
    if "pictures" in kinds:
        for name, more in (("heat map", {"accept": "image/png"}), ("verdict as JSON", {})):
            ms = pictures(server, options.pictures, {"content-type": "image/png", **more})
            low, middle, high = np.percentile(ms, [0, 50, 99])
            print(
                f"pictures {SIDE} x {SIDE}, {name}, recorded: {recording}: p50 {middle:.1f} ms, "
                f"p99 {high:.1f} ms, fastest {low:.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
