"""Where graphs run: what was asked for, or a clear word about why not."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
import pytest

from service.errors import Unavailable
from service.inference import devices
from service.inference.session import Session, warm_session
from service.store import ModelStore, StoredModel
from tests.running_server import Server, free_port, glassline_process

without_cuda = pytest.mark.skipif(
    devices.CUDA in ort.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


@pytest.fixture(scope="module")
def lenet(home: Path) -> StoredModel:
    return ModelStore(home).get("lenet-digits")


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_bound_tensors_give_the_same_bits_as_direct_ones(lenet: StoredModel, rows: int) -> None:
    graph = ort.InferenceSession(str(lenet.graph("predict")), providers=[devices.CPU])
    direct = devices.runner(graph, devices.CPU)
    bound = devices.Bound(graph, ["probabilities"], device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (rows, 1, 32, 64), np.uint8)
    every_other = images[..., ::2]  # not contiguous, as a slice of a batch may be
    for _ in range(2):  # and the second run is not the first one's
        (wanted,), (got,) = direct({"image": every_other}), bound({"image": every_other})
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
        every_other = every_other[:, :, ::-1]


def test_a_graph_is_bound_on_cuda_and_run_directly_on_the_cpu(lenet: StoredModel) -> None:
    graph = ort.InferenceSession(str(lenet.graph("predict")), providers=[devices.CPU])
    assert isinstance(devices.runner(graph, devices.CUDA), devices.Bound)
    assert not isinstance(devices.runner(graph, devices.CPU), devices.Bound)


@without_cuda
def test_cuda_that_is_not_there_is_refused_with_the_remedy(lenet: StoredModel) -> None:
    message = r"lenet-digits@1: device 'cuda' was demanded.*Install glassline\[gpu\]"
    with pytest.raises(Unavailable, match=message):
        Session(lenet, device="cuda")


@without_cuda
def test_auto_is_loud_where_a_gpu_was_given_and_quiet_where_none_is(
    lenet: StoredModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with caplog.at_level(logging.WARNING):
        assert warm_session(lenet, "auto").fallback == ""
        assert caplog.messages == []
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        session = warm_session(lenet, "auto")
    assert (session.provider, bool(session.fallback)) == (devices.CPU, True)
    (message,) = caplog.messages
    assert message.startswith("lenet-digits@1 runs on the CPU: there is a GPU, but")
    assert warm_session(lenet, "cpu").fallback == ""  # asked for, so nothing to be loud about


@pytest.mark.parametrize(
    ("given", "count"),
    [("", 0), ("0", 1), ("2,3", 2), ("0,1,-1,2", 2), ("GPU-8a56,GPU-90cd", 2), ("-1", 0)],
)
def test_gpus_are_those_that_cuda_shows_a_process(
    monkeypatch: pytest.MonkeyPatch, given: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.gpus() == count


def test_workers_take_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert [devices.gpu_of(worker) for worker in range(5)] == [0, 1, 2, 0, 1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [devices.gpu_of(worker) for worker in range(3)] == [0, 0, 0]


@without_cuda
@pytest.mark.slow
def test_a_server_without_the_cuda_it_was_told_to_use_lives_and_says_that_it_is_not_ready(
    home: Path, tmp_path: Path
) -> None:
    port = free_port()
    process = glassline_process(
        home,
        tmp_path / "log",
        GLASSLINE_PORT=str(port),
        GLASSLINE_DEVICE="cuda",
        GLASSLINE_DATABASE_URL=f"sqlite:///{tmp_path / 'records.db'}",
    )
    server = Server(f"http://127.0.0.1:{port}", home, process, tmp_path / "log")
    try:
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            assert process.poll() is None
            try:
                if httpx.get(f"{server.url}/livez", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        for path in ("/v2/health/ready", "/readyz"):
            told = httpx.get(server.url + path, trust_env=False)
            assert told.status_code == 503
            assert "device 'cuda' was demanded" in told.json()["error"]
        refused = httpx.post(f"{server.url}/v2/models/lenet-digits/infer", trust_env=False)
        assert refused.status_code == 503
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "refused to load: lenet-digits@1: device 'cuda' was demanded" in server.log.read_text()
