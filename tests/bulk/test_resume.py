"""Whatever ends a run, the next one computes what is missing and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.inputs import open_inputs
from service.bulk.worker import BulkExplainer, ModelFiles, Task
from service.explain.parameters import ExplainParameters
from service.store import ModelStore
from tests.bulk.models import pictures, png, release_models
from tests.bulk.processes import children
from tests.running_server import REPOSITORY, glassline

ROWS, SAMPLES = 48, 12_000


def at_work(pids: list[int]) -> list[str]:
    """Names of those that run; Ray's two agents look after their raylet for half a minute."""
    names = []
    for pid in pids:
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if name.strip() and "Agent" not in name:
            names.append(name[:80])
    return names


def ended(arguments: list[str], home: Path, folder: Path, how: signal.Signals) -> int:
    """Start the command, end it once it has written another part; its exit code."""
    before = len(list(folder.glob("0*.parquet")))
    process = subprocess.Popen(
        [sys.executable, "-c", "from service.cli import main; main()", *arguments],
        env={**os.environ, "GLASSLINE_HOME": str(home)}, cwd=REPOSITORY,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while len(list(folder.glob("0*.parquet"))) == before:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    left = children(process.pid)
    assert len(at_work(left)) >= 3  # Ray's own and the workers
    process.send_signal(how)
    code = process.wait(60)
    while at_work(left) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert at_work(left) == []
    return code


def kept(folder: Path) -> dict[int, str]:
    """Row -> explanation, as they stand in the parts; no row stands there twice."""
    tables = [pq.read_table(part) for part in sorted(folder.glob("0*.parquet"))]
    rows = pa.concat_tables(tables)
    found = dict(zip(rows["row"].to_pylist(), rows["explanation"].to_pylist(), strict=True))
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    home, batch, out = tmp_path / "home", tmp_path / "in.parquet", tmp_path / "out.parquet"
    release_models(home)
    pq.write_table(pa.table({"image": [png(one) for one in pictures(ROWS)]}), batch)
    folder = tmp_path / "out.parquet.parts"
    arguments = ["explain", "--batch", str(batch), "--out", str(out), "--model", "sides",
                 "--samples", str(SAMPLES)]  # fmt: skip
    assert ended(arguments, home, folder, signal.SIGKILL) == -signal.SIGKILL
    after_kill = kept(folder)
    assert 0 < len(after_kill) < ROWS
    assert ended(arguments, home, folder, signal.SIGINT) == 130
    after_stop = kept(folder)
    assert len(after_kill) < len(after_stop) < ROWS
    refused = glassline(*arguments, "--seed", "5", home=home)
    assert refused.returncode == 1
    assert "parameters.seed was 0 and is 5 now" in refused.stderr
    done = glassline(*arguments, home=home)
    assert done.returncode == 0, done.stderr
    assert f"{len(after_stop)} of {ROWS} rows were done already" in done.stdout
    assert not folder.exists()
    finished = pq.read_table(out).to_pylist()
    assert [row["row"] for row in finished] == list(range(ROWS))
    texts = {row["row"]: row["explanation"] for row in finished}
    # Byte for byte, timings and all: what was done was not computed again.
    assert {row: texts[row] for row in after_stop} == after_stop
    assert {row: after_stop[row] for row in after_kill} == after_kill
    uninterrupted = at_once(home, batch)
    assert [without_timings(row["explanation"]) for row in finished] == uninterrupted
    again = glassline(*arguments, home=home)
    assert f"{ROWS} of {ROWS} rows were done already" in again.stdout
    assert pq.read_table(out).to_pylist() == finished


def at_once(home: Path, batch: Path) -> list[dict[str, Any]]:
    """The explanations of all rows by one worker, here, in one go."""
    stored = ModelStore(home).get("sides")
    inputs = open_inputs(batch, stored.manifest)
    asked = ExplainParameters.model_validate({"num_samples": SAMPLES})
    task = Task(inputs.layout, asked, "cpu", 0, 10**6, 60.0, inputs.id_type)
    files = ModelFiles(stored.manifest.canonical(), str(stored.folder))
    explainer = BulkExplainer(files, task)
    rows = pa.concat_tables([explainer(piece) for piece in inputs.pieces()])
    return [without_timings(text) for text in rows["explanation"].to_pylist()]


def without_timings(text: str) -> dict[str, Any]:
    explanation: dict[str, Any] = json.loads(text)
    del explanation["timings"]
    return explanation
