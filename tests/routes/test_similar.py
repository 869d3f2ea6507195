"""The nearest of earlier parts, over HTTP and from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.protocol.media import encode_png
from tests.running_server import Server, glassline
from tests.small_detector import normal_pictures, normal_windows

PNG = {"content-type": "image/png"}
SHELF = normal_pictures(40, 77)


def latent(pictures: np.ndarray) -> np.ndarray:
    """By hand: the mean of each line of pixels."""
    lines: np.ndarray = pictures[:, 0].astype(np.float64).mean(axis=2)
    return lines


def asked(row: int = 0) -> dict[str, Any]:
    values = normal_windows(3, 4)[row : row + 1]
    shape = list(values.shape)
    tensor = {"name": "window", "datatype": "FP32", "shape": shape, "data": values.ravel().tolist()}
    return {"inputs": [tensor]}


def test_a_part_is_most_like_itself_and_distances_are_those_worked_by_hand(
    detector: httpx.Client,
) -> None:
    answer = detector.post(
        "/v2/models/pictures/similar", content=encode_png(SHELF[7]), headers=PNG, params={"k": 4}
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["model_name"], said["metric"], said["exact"]) == ("pictures", "euclidean", True)
    assert said["gallery"] == 40
    (row,) = said["rows"]
    apart = np.linalg.norm(latent(SHELF) - latent(SHELF[7:8]), axis=1)
    order = np.argsort(apart)[:4]
    assert [one["id"] for one in row["neighbours"]] == [f"board-{at:02d}.png" for at in order]
    assert [one["distance"] for one in row["neighbours"]] == pytest.approx(apart[order], abs=1e-3)
    assert row["neighbours"][0]["distance"] == 0
    # It was predicted, and recorded as every prediction.
    record = answer.headers["glassline-record-id"]
    assert said["parameters"]["record_id"] == record
    again = detector.post(
        "/v2/models/pictures/similar", json={"record": record, "parameters": {"k": 4}}
    )
    assert again.json()["rows"] == said["rows"]
    # As `curl -d` sends it.
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = f'{{"record": "{record}"}}'
    curl = detector.post("/v2/models/pictures/similar", content=body, headers=form, params={"k": 4})
    assert curl.json()["rows"] == said["rows"], curl.text


def test_a_gallery_of_records_leads_to_them(detecting: Server, detector: httpx.Client) -> None:
    records = [
        detector.post("/v2/models/windows/versions/1/infer", json=asked(row)).headers[
            "glassline-record-id"
        ]
        for row in range(3)
    ]
    done = glassline("models", "gallery", "windows@1", "--records", "all", home=detecting.home)
    assert done.returncode == 0, done.stderr
    version = re.search(r"windows@(\d+): \d+ vectors added", done.stdout)[1]  # type: ignore[index]
    answer = detector.post(f"/v2/models/windows/versions/{version}/similar", json=asked(1))
    assert answer.status_code == 200, answer.text
    nearest = answer.json()["rows"][0]["neighbours"][0]
    assert nearest["distance"] == 0
    assert nearest["record"] == f"/audit/records/{nearest['id'].partition('#')[0]}"
    assert detector.get(nearest["record"]).status_code == 200
    found = {one["id"] for one in answer.json()["rows"][0]["neighbours"]}
    assert found & set(records)
    change = detector.get("/audit/records", params={"kind": "gallery"}).json()["records"]
    assert (change[0]["model"], change[0]["version"]) == ("windows", version)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("windows", asked(), 409, "has no gallery. Build one: glassline models gallery windows"),
        ("pictures", asked(), 400, "image"),
        ("nobody", asked(), 404, "nobody"),
        ("pictures", {"record": "0" * 8}, 404, "no record has the id"),
        ("pictures", {"record": 5}, 400, "wanted {"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(
    path: str, body: dict[str, Any], status: int, words: str, detector: httpx.Client
) -> None:
    version = "/versions/1" if path == "windows" else ""
    answer = detector.post(f"/v2/models/{path}{version}/similar", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


@pytest.mark.parametrize("k", ["0", "1001", "many", "-1", "1.5"])
def test_k_is_1_to_1000(k: str, detector: httpx.Client) -> None:
    png = encode_png(SHELF[0])
    answer = detector.post("/v2/models/pictures/similar", content=png, headers=PNG, params={"k": k})
    assert answer.status_code == 400
    assert "wanted 1 to 1000" in answer.json()["error"]


def test_a_record_of_another_model_has_no_vector_here(detector: httpx.Client) -> None:
    record = detector.post("/v2/models/windows/versions/1/infer", json=asked()).headers[
        "glassline-record-id"
    ]
    answer = detector.post("/v2/models/pictures/similar", json={"record": record})
    assert answer.status_code == 409
    assert "holds no vector of this model's graph" in answer.json()["error"]


def test_what_is_there_is_not_added_again_and_others_are(detecting: Server, tmp_path: Path) -> None:
    home = detecting.home
    again = glassline("models", "gallery", "pictures@2", "--data", str(home / "shelf"), home=home)
    assert again.returncode == 1
    assert "nothing was added to its gallery of 40 vectors" in again.stderr
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "board.png").write_bytes(encode_png(normal_pictures(1, 3)[0]))
    more = glassline("models", "gallery", "pictures@2", "--data", str(tmp_path), home=home)
    assert more.returncode == 0, more.stderr
    assert "1 vectors added, 41 in all" in more.stdout
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = glassline("models", "gallery", "pictures@2", "--data", str(tmp_path), home=home)
    assert bad.returncode == 1
    assert "bad.png" in bad.stderr


def test_a_gallery_of_another_model_s_vectors_is_refused(detecting: Server) -> None:
    done = glassline("models", "gallery", "windows@1", "--from", "pictures@2", home=detecting.home)
    assert done.returncode == 1
    assert "vectors of two graphs cannot be compared" in done.stderr
    metric = glassline(
        "models", "gallery", "pictures@2", "--records", "all", "--metric", "cosine",
        home=detecting.home,
    )  # fmt: skip
    assert "its gallery is of output 'latent' by euclidean distance" in metric.stderr
