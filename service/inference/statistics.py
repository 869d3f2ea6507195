"""Triton's statistics extension, from the metrics of all processes.

Source: Triton Inference Server, docs/protocol/extension_statistics.md.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from service import metrics

#: Which histogram times which part of a request, in Triton's words.
_PARTS = {
    "queue": "request_queue_seconds",
    "compute_input": "request_preprocess_seconds",
    "compute_infer": "request_predict_seconds",
    "compute_output": "request_postprocess_seconds",
}
_REQUEST = "http_server_request_duration_seconds"
_INFER_ROUTES = ("/infer", ":predict")


def model_statistics(name: str | None = None, version: str | None = None) -> dict[str, Any]:
    """What models have done since the server started, over all processes.

    Args:
        name: of one model; None = all that were loaded.
        version: of one version; None = all.

    Returns:
        `{"model_stats": [...]}`; counts, and times in nanoseconds.
    """
    totals: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for sample in metrics.samples():
        key = (sample.labels.get("model", "-"), sample.labels.get("version", "-"))
        if "le" in sample.labels or key[0] == "-":
            continue
        if name not in (None, key[0]) or version not in (None, key[1]):
            continue
        totals[key][_field(sample)] += sample.value
    return {"model_stats": [_statistics(*key, totals[key]) for key in sorted(totals)]}


def _field(sample: Any) -> str:
    """The sample's name; for whole requests, apart by how they ended."""
    if not sample.name.startswith(_REQUEST):
        return str(sample.name)
    if not sample.labels["route"].endswith(_INFER_ROUTES):
        return "other routes"
    ended = "success" if sample.labels["status"] == "200" else "fail"
    return f"{ended}{sample.name.removeprefix(_REQUEST)}"


def _statistics(name: str, version: str, total: dict[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "last_inference": int(total["glassline_last_inference_timestamp_seconds"] * 1000),
        "inference_count": int(total["glassline_batch_rows_sum"]),
        "execution_count": int(total["glassline_batch_rows_count"]),
        "inference_stats": {
            "success": _duration(total, "success"),
            "fail": _duration(total, "fail"),
            **{part: _duration(total, metric) for part, metric in _PARTS.items()},
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
    }


def _duration(total: dict[str, float], metric: str) -> dict[str, int]:
    return {"count": int(total[f"{metric}_count"]), "ns": int(total[f"{metric}_sum"] * 1e9)}
