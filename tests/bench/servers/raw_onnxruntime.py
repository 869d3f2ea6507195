"""No server: one caller in a loop around ONNX Runtime; prints its figures as JSON.

Run by the bench: python raw_onnxruntime.py SECONDS
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from graph import open_session


def main(seconds: float) -> dict[str, float | int]:
    """Calls a second and how long each took, in milliseconds."""
    session = open_session()
    shape = [1, *session.get_inputs()[0].shape[1:]]
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for _ in range(20):
        session.run(["probabilities"], {"image": image})
    took: list[float] = []
    start = now = time.perf_counter()
    while now - start < seconds:
        session.run(["probabilities"], {"image": image})
        before, now = now, time.perf_counter()
        took.append(now - before)
    milliseconds = np.array(took) * 1e3
    return {
        "requests": len(took),
        "requests_per_second": len(took) / (now - start),
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "max_ms": float(milliseconds.max()),
        "errors": 0,
    }


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]))))
