"""Predictions over HTTP, by JSON and by picture, and the record of each."""

from __future__ import annotations

import hashlib
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

PNG = {"content-type": "image/png"}
INFER = "/v2/models/lenet-digits/infer"


def as_json(png: bytes) -> dict[str, object]:
    """The v2 JSON request that equals a picture body: 8-bit grey, fitted to 32 x 32."""
    picture = Image.open(io.BytesIO(png)).convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return {
        "id": "part-4711",
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, 1, 32, 32],
                "data": pixels.ravel().tolist(),
            }
        ],
    }


def outputs(answer: httpx.Response) -> dict[str, list[object]]:
    assert answer.status_code == 200, answer.text
    return {o["name"]: o["data"] for o in answer.json()["outputs"]}


def test_a_picture_and_the_same_numbers_get_the_same_answer(
    client: httpx.Client, digit_png: bytes
) -> None:
    by_picture = outputs(client.post(INFER, content=digit_png, headers=PNG))
    by_numbers = outputs(client.post(INFER, json=as_json(digit_png)))
    assert by_picture == by_numbers
    probabilities = np.array(by_picture["probabilities"])
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert by_picture["label"] == [str(probabilities.argmax())]
    assert by_picture["confidence"] == [pytest.approx(probabilities.max())]


def test_jpeg_is_read_too(client: httpx.Client, digit_png: bytes) -> None:
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(digit_png)).convert("L").resize((256, 256)).save(jpeg, "JPEG")
    answer = client.post(INFER, content=jpeg.getvalue(), headers={"content-type": "image/jpeg"})
    assert len(outputs(answer)["label"]) == 1


def test_the_id_is_echoed_and_the_version_can_be_named(
    client: httpx.Client, digit_png: bytes
) -> None:
    body = as_json(digit_png)
    answer = client.post("/v2/models/lenet-digits/versions/1/infer", json=body).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == (
        "part-4711", "lenet-digits", "1",
    )  # fmt: skip


def test_only_the_outputs_asked_for_come_back(client: httpx.Client, digit_png: bytes) -> None:
    body = {**as_json(digit_png), "outputs": [{"name": "label"}]}
    assert list(outputs(client.post(INFER, json=body))) == ["label"]


def test_a_batch_is_answered_row_by_row(client: httpx.Client, digit_png: bytes) -> None:
    one = as_json(digit_png)
    pixels = one["inputs"][0]["data"]  # type: ignore[index]
    blank = [0] * 1024
    batch = {
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [2, 1, 32, 32], "data": pixels + blank}
        ]
    }
    both = outputs(client.post(INFER, json=batch))
    alone = outputs(client.post(INFER, json=one))
    assert both["label"][0] == alone["label"][0]
    assert np.allclose(both["probabilities"][:10], alone["probabilities"])


def test_the_record_holds_what_was_asked_and_answered(
    client: httpx.Client, digit_png: bytes
) -> None:
    answer = client.post(INFER, content=digit_png, headers={**PNG, "x-request-id": "shift-2/88"})
    assert answer.headers["x-request-id"] == "shift-2/88"
    record_id = answer.json()["parameters"]["record_id"]
    assert answer.headers["glassline-record-id"] == record_id
    stored = client.get(f"/audit/records/{record_id}").json()
    record = stored["record"]
    assert record["id"] == record_id
    assert record["kind"] == "prediction"
    assert record["request_id"] == "shift-2/88"
    assert record["model"]["name"] == "lenet-digits"
    metadata = client.get("/v2/models/lenet-digits").json()
    assert record["model"]["manifest_sha256"] == metadata["parameters"]["digest"]
    pixels = np.array(as_json(digit_png)["inputs"][0]["data"], np.uint8)  # type: ignore[index]
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    assert record["inputs"][0]["sha256"] == digest
    assert record["inputs"][0]["shape"] == [1, 1, 32, 32]
    # The digest over the canonical bytes can be checked by anyone: RFC 8785 is JSON with
    # sorted keys and no spaces for records, whose strings are ASCII and whose numbers are plain.
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == stored["sha256"]


def test_metadata_tells_a_client_all_it_needs(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/lenet-digits").json()
    assert metadata["name"] == "lenet-digits"
    assert metadata["versions"] == ["1"]
    (image,) = metadata["inputs"]
    assert (image["name"], image["datatype"], image["shape"]) == ("image", "UINT8", [-1, 1, 32, 32])
    assert [o["name"] for o in metadata["outputs"]] == ["probabilities", "label", "confidence"]
    assert client.get("/v2/models/lenet-digits/versions/1").json() == metadata


def test_health_is_told_in_the_protocols_words(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert client.get("/v2/models/lenet-digits/ready").json()["ready"] is True
    assert client.get("/v2").json()["name"] == "glassline"
    assert client.get("/v2/").json() == client.get("/v2").json()
    assert client.get("/livez").text == "live\n"
    assert client.get("/readyz").text == "ready\n"


def test_the_root_leads_to_the_docs_and_they_load_nothing_from_elsewhere(
    client: httpx.Client,
) -> None:
    root = client.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    page = client.get("/docs").text
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
