"""A detector over HTTP: verdict, p-value, where it comes from, heat map, record, explanation."""

from __future__ import annotations

import io
import re
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.protocol.media import encode_png
from tests.small_detector import normal_pictures, normal_windows

PNG = {"content-type": "image/png"}


@pytest.fixture
def http(detector: httpx.Client) -> httpx.Client:
    return detector


def defective() -> np.ndarray:
    picture = normal_pictures(1, 5)
    picture[0, 0, 4:8, 12:16] = 255
    return picture


def window(jumps: bool = True) -> dict[str, Any]:
    values = normal_windows(1, 5)
    values[0, 3, 1] += 30 * jumps
    return {
        "name": "window",
        "datatype": "FP32",
        "shape": [1, 6, 2],
        "data": values.ravel().tolist(),
    }


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["outputs"]}


def test_the_answer_says_how_rare_what_follows_and_where_it_comes_from(
    http: httpx.Client,
) -> None:
    said = outputs(http.post("/v2/models/windows/infer", json={"inputs": [window()]}))
    assert said["verdict"]["data"] == ["anomaly"]
    assert said["p_value"]["data"] == [1 / 501]
    assert said["budget"]["data"] == [0.02]
    assert said["score"]["data"][0] > said["threshold"]["data"][0]
    assert said["contributors"]["data"] == ["heat", "pressure"]
    assert sum(said["contributions"]["data"]) == pytest.approx(1)
    normal = outputs(http.post("/v2/models/windows/infer", json={"inputs": [window(jumps=False)]}))
    assert normal["verdict"]["data"] == ["normal"]
    picture = http.post("/v2/models/pictures/infer", content=encode_png(defective()), headers=PNG)
    assert outputs(picture)["contributors"]["data"][0] == "x 12-15, y 4-7"


def test_outputs_as_large_as_the_input_are_sent_to_whoever_names_them(
    http: httpx.Client,
) -> None:
    everything = outputs(http.post("/v2/models/windows/infer", json={"inputs": [window()]}))
    assert {"score", "latent", "verdict"} <= set(everything)
    assert not {"error", "reconstruction"} & set(everything)
    asked = {"inputs": [window()], "outputs": [{"name": "error"}, {"name": "score"}]}
    named = outputs(http.post("/v2/models/windows/infer", json=asked))
    assert list(named) == ["error", "score"]
    error = np.array(named["error"]["data"]).reshape(named["error"]["shape"])
    assert error.shape == (1, 6, 2)
    assert error.mean() == pytest.approx(named["score"]["data"][0])
    instance = {"instances": normal_windows(1).tolist()}
    (row,) = http.post("/v1/models/windows:predict", json=instance).json()["predictions"]
    assert "verdict" in row
    assert "error" not in row


def test_the_metadata_tells_the_budget_and_how_far_it_can_be_off(http: httpx.Client) -> None:
    said = http.get("/v2/models/windows").json()
    calibration = said["parameters"]["calibration"]
    assert calibration["budget"] == {"kind": "rate", "rate": 0.02}
    assert calibration["n"] == 500
    low, high = calibration["realised"]
    assert low < 0.02 < high
    names = [one["name"] for one in said["outputs"]]
    assert names[:2] == ["score", "error"]
    assert {"p_value", "verdict", "contributors", "contributions"} <= set(names)


@pytest.mark.parametrize("model", ["windows", "pictures"])
def test_whoever_would_rather_see_it_gets_the_heat_map(model: str, http: httpx.Client) -> None:
    body: dict[str, Any] = {"json": {"inputs": [window()]}}
    if model == "pictures":
        body = {"content": encode_png(defective()), "headers": PNG}
    headers = {**body.pop("headers", {}), "accept": "image/png"}
    answer = http.post(f"/v2/models/{model}/infer", headers=headers, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["vary"] == "accept"
    assert answer.headers["glassline-record-id"]
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)
    orange = (pixels[..., 0] - pixels[..., 2] > 90).mean(axis=(0, 1))
    assert 0.001 < orange < 0.4
    if model == "pictures":  # where the defect is: rows 4 to 7 of 16, columns 12 to 15
        ys, xs = np.nonzero(pixels[..., 0] - pixels[..., 2] > 90)
        picture = pixels.shape[1]
        assert 0.2 * picture < np.median(ys) < 0.55 * picture
        assert np.median(xs) > 0.7 * picture


def test_a_record_is_found_by_its_verdict_and_holds_no_copy_of_the_input(
    http: httpx.Client,
) -> None:
    answer = http.post("/v2/models/windows/infer", json={"inputs": [window()]})
    record = answer.headers["glassline-record-id"]
    told = http.get(f"/audit/records/{record}").json()
    decision = told["record"]["decision"]
    assert decision["labels"] == ["anomaly"]
    assert decision["p_values"] == [1 / 501]
    assert np.float32(decision["threshold"]) == np.float32(outputs(answer)["threshold"]["data"][0])
    assert decision["budget"] == 0.02
    stored = {one["name"]: one for one in told["record"]["outputs"]}
    assert "base64" in stored["score"]
    for name in ("error", "reconstruction"):
        assert "base64" not in stored[name]
        assert len(stored[name]["sha256"]) == 64
    found = http.get("/audit/records", params={"model": "windows", "decision": "anomaly"}).json()
    assert record in [one["id"] for one in found["records"]]
    replay = http.post(f"/audit/records/{record}/replay")
    assert replay.json()["verdict"] == "bit-exact", replay.text
    report = http.get(f"/audit/records/{record}/report")
    assert report.status_code == 200
    assert "budget 0.02" in report.text


def test_a_batch_with_one_anomaly_in_it_is_found_as_one(http: httpx.Client) -> None:
    rows = normal_windows(3, 11) * 0.5
    rows[1, 2, 0] = 40
    tensor = {
        "name": "window",
        "datatype": "FP32",
        "shape": [3, 6, 2],
        "data": rows.ravel().tolist(),
    }
    answer = http.post("/v2/models/windows/infer", json={"inputs": [tensor]})
    assert outputs(answer)["verdict"]["data"] == ["normal", "anomaly", "normal"]
    record = answer.headers["glassline-record-id"]
    told = http.get(f"/audit/records/{record}").json()["record"]
    assert told["decision"]["labels"] == ["normal", "anomaly", "normal"]
    query = {"model": "windows", "decision": "anomaly", "order": "newest"}
    found = http.get("/audit/records", params=query).json()["records"]
    assert record in [one["id"] for one in found]


@pytest.mark.parametrize("model", ["windows", "pictures"])
def test_the_score_is_explained_and_the_error_stands_beside_it(
    model: str, http: httpx.Client
) -> None:
    body: dict[str, Any] = {"json": {"inputs": [window()], "parameters": {"num_samples": 100}}}
    if model == "pictures":
        body = {"content": encode_png(defective()), "headers": PNG, "params": {"num_samples": 100}}
    answer = http.post(f"/v2/models/{model}/explain", **body)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["explanation"]["explanations"][0]["name"] == "score"
    (evidence,) = said["explanation"]["evidence"]
    assert (evidence["output"], evidence["kind"]) == ("error", "reconstruction-error")
    replay = http.post(f"/audit/records/{said['explanation_id']}/replay")
    assert replay.json()["verdict"] == "bit-exact", replay.text
    drawn = http.get(f"/v2/explanations/{said['explanation_id']}", headers={"accept": "image/png"})
    assert drawn.content.startswith(b"\x89PNG")


def test_verdicts_and_p_values_are_counted(http: httpx.Client) -> None:
    http.post("/v2/models/windows/infer", json={"inputs": [window()]})
    text = http.get("/metrics").text
    assert 'glassline_verdicts_total{model="windows",verdict="anomaly",version="1"}' in text
    assert 'glassline_p_value_count{model="windows",version="1"}' in text
    assert 'glassline_score_over_threshold_ratio_count{model="windows"' in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1, 4, 2], "data": [0.0] * 8}, r"\(1, 4, 2\), wanted .* fits \(any, 6, 2\)"),
        ({"data": [None] + [0.0] * 11}, "null at element 0"),
        ({"data": [1e4] + [0.0] * 11}, "1000"),
    ],
)
def test_windows_with_gaps_or_of_another_size_are_refused(
    change: dict[str, Any], words: str, http: httpx.Client
) -> None:
    answer = http.post("/v2/models/windows/infer", json={"inputs": [window() | change]})
    assert answer.status_code == 400
    assert re.search(words, answer.json()["error"]), answer.text


def test_gaps_in_binary_windows_are_refused(http: httpx.Client) -> None:
    values = normal_windows(1)
    values[0, 2, 1] = np.nan
    answer = http.post(
        "/v2/models/windows/infer", content=values.tobytes(),
        headers={"inference-header-content-length": "0"},
    )  # fmt: skip
    assert answer.status_code == 400, answer.text
    assert "nan" in answer.json()["error"].lower()
