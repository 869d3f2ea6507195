"""The command against a running server: the same rows, the same parameters, the same bits."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bulk.models import pictures, png, release_models
from tests.bulk.processes import children
from tests.running_server import Server, a_server, free_port, glassline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("bulk")
    release_models(home)
    with a_server(home) as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A Ray cluster that was there before: its address, and what it takes to be let in."""
    ray, port = Path(sys.executable).with_name("ray"), free_port()
    key = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    start = [ray, "start", "--head", "--num-cpus=2", "--include-dashboard=false", "--block",
             "--disable-usage-stats", f"--port={port}"]  # fmt: skip
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **key}
    ) as process:
        assert process.stdout is not None
        # It tells when it is up, and much besides; somebody has to listen to that.
        assert any(b"Ray runtime started" in line for line in process.stdout)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield {"address": f"127.0.0.1:{port}", **key}
        # SIGTERM would have it drain for half a minute.
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)


def in_bulk(
    home: Path, batch: Path, model: str, *more: str, failed: int = 0, **environment: str
) -> list[dict[str, Any]]:
    """The rows that the command writes."""
    out = batch.with_suffix(".out.parquet")
    done = glassline("explain", "--batch", str(batch), "--out", str(out), "-m", model, *more,
                     home=home, **environment)  # fmt: skip
    assert done.returncode == (1 if failed else 0), done.stderr
    assert f"{failed} failed" in done.stdout
    # Nothing of Ray's on the terminal, and no parts left behind.
    assert "ray" not in (done.stdout + done.stderr).lower().replace(str(batch.parent).lower(), "")
    assert len(done.stderr.splitlines()) == (1 if failed else 0), done.stderr
    assert not out.with_name(out.name + ".parts").exists()
    table = pq.read_table(out)
    assert table["row"].to_pylist() == list(range(len(table)))
    return table.to_pylist()  # type: ignore[no-any-return]


def asked(server: Server, model: str, body: bytes, kind: str, **parameters: Any) -> dict[str, Any]:
    """What the server answers for the same."""
    answer = httpx.post(
        f"{server.url}/v2/models/{model}/explain", content=body, params=parameters,
        headers={"content-type": kind}, timeout=60, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    explanation: dict[str, Any] = answer.json()["explanation"]
    return explanation


def same(row: dict[str, Any], online: dict[str, Any]) -> None:
    """Equal to the last bit, but for how long it took."""
    assert row["error"] is None
    ours = json.loads(row["explanation"])
    assert ours.pop("timings").keys() == online.pop("timings").keys()
    assert ours == online
    assert (row["seed"], row["samples"]) == (online["seed"], online["samples_used"])
    assert (row["r2"], row["verdict"]) == (online["quality"]["r2"], online["quality"]["verdict"])


def test_pictures_and_the_bad_ones_among_them(running: Server, tmp_path: Path) -> None:
    bodies = [png(one) for one in pictures(6)]
    given = [*bodies[:3], b"no picture", None, *bodies[3:]]
    names = [f"part {n}" for n in range(len(given))]
    batch = tmp_path / "pictures.parquet"
    pq.write_table(pa.table({"id": names, "image": pa.array(given, pa.binary())}), batch)
    more = ["--set", "repeats=1", "--seed", "11", "--target", "right"]
    rows = in_bulk(running.home, batch, "sides@1", *more, failed=2)
    assert [row["id"] for row in rows] == names
    for row, body in zip(rows, given, strict=True):
        if body in bodies:
            same(
                row, asked(running, "sides", body, "image/png", seed=11, repeats=1, target="right")
            )
            assert row["target"] == "right"
            assert row["answer"] in ("left", "right", "dark")
    assert "neither" in rows[3]["error"]
    assert "column 'image': got nothing" in rows[4]["error"]
    assert rows[3]["explanation"] is rows[4]["score"] is None


def test_a_table_as_csv_on_a_cluster_by_address(
    running: Server, cluster: dict[str, str], tmp_path: Path
) -> None:
    batch = tmp_path / "parts.csv"
    batch.write_text("height,id,width\n2.5,a,3.5\n1,b,wide\n-0.25,c,9\n")
    cluster = dict(cluster)
    address = cluster.pop("address")
    rows = in_bulk(running.home, batch, "parts", "--address", address, failed=1, **cluster)
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert "column 'width': got 'wide'" in rows[1]["error"]
    for at, line in ((0, "3.5,2.5"), (2, "9,-0.25")):
        same(rows[at], asked(running, "parts", f"width,height\n{line}\n".encode(), "text/csv"))
    # sigmoid(width - 2 height) is the probability of "good"
    assert [rows[0]["answer"], rows[2]["answer"]] == ["bad", "good"]


def test_windows_and_texts_on_a_cluster_by_address(
    running: Server, cluster: dict[str, str], tmp_path: Path
) -> None:
    windows = np.random.default_rng(3).normal(size=(3, 12, 2)).astype(np.float32)
    batch = tmp_path / "windows.parquet"
    pq.write_table(pa.table({"x": windows.tolist()}), batch)
    cluster = dict(cluster)
    address = cluster.pop("address")
    more = ["--address", address, "--samples", "80"]
    rows = in_bulk(running.home, batch, "flow", *more, "--set", "background=noise", **cluster)
    assert [row["id"] for row in rows] == [0, 1, 2]
    for row, window in zip(rows, windows, strict=True):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 12, 2]}
        body = json.dumps({"inputs": [{**tensor, "data": window.ravel().tolist()}]}).encode()
        same(row, asked(running, "flow", body, "application/json", num_samples=80,
                        background="noise"))  # fmt: skip
    texts = ["a scratch beside the dänt", "nothing here"]
    batch = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"x": texts}), batch)
    for row, text in zip(
        in_bulk(running.home, batch, "words", *more, **cluster), texts, strict=True
    ):
        same(row, asked(running, "words", text.encode(), "text/plain", num_samples=80))
