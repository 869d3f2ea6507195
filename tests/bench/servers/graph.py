"""The graph under test, opened the same way by every server that is not ours."""

from __future__ import annotations

import os

import onnxruntime as ort

#: Where the bench says what to serve: every server here reads these and nothing else.
GRAPH = os.environ["BENCH_GRAPH"]
PORT = int(os.environ["BENCH_PORT"])


def open_session() -> ort.InferenceSession:
    """A CPU session with as many threads as the bench gives each server."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
