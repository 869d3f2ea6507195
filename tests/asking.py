"""Requests to the models of every modality, as whoever runs a line would send them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import httpx
import numpy as np

_SEEDS = itertools.count(1000)
TABLE, TEXT, PNG = ({"content-type": kind} for kind in ("text/csv", "text/plain", "image/png"))


def window(steps: int = 30) -> dict[str, Any]:
    """A window whose first channel rises late."""
    values = np.zeros((1, steps, 2), np.float32)
    values[0, steps * 2 // 3 :, 0] = 3
    values[0, :, 1] = np.linspace(0.3, 0.5, steps)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, steps, 2]}
    return {"inputs": [{**tensor, "data": values.ravel().tolist()}]}


def request_of(model: str, home: Path) -> dict[str, Any]:
    """What httpx sends to a model."""
    if model == "lenet-digits":
        png = (home / "bentoml/models/lenet-digits/1/example.png").read_bytes()
        return {"content": png, "headers": PNG}
    if model in ("flow", "rebuild"):
        return {"json": window()}
    if model == "words":
        text = "A scratch, and then another scratch beside the dänt."
        return {"content": text.encode(), "headers": TEXT}
    return {"content": b"width,height\n3.5,2.5\n", "headers": TABLE}


def predicted(http: httpx.Client, model: str, home: Path) -> str:
    """Id of a prediction's record."""
    answer = http.post(f"/v2/models/{model}/infer", **request_of(model, home))
    assert answer.status_code == 200, answer.text
    return answer.headers["glassline-record-id"]


def explained(http: httpx.Client, model: str, home: Path, **asked: Any) -> tuple[str, str]:
    """Ids of a prediction and of an explanation of it, which no other request shares."""
    record = predicted(http, model, home)
    asked.setdefault("seed", next(_SEEDS))
    answer = http.post(f"/v2/records/{record}/explain", json={"parameters": asked})
    assert answer.status_code == 200, answer.text
    return record, answer.json()["explanation_id"]
