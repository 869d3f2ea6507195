"""Tables and texts as whole bodies, asked of a running server that serves real graphs."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_server import Server, a_server, glassline
from tests.small_models import release_small_models

PARTS, FLOW, WORDS = (f"/v2/models/{name}/infer" for name in ("parts", "flow", "words"))
CSV = {"content-type": "text/csv"}
TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("tables")
    release_small_models(home)
    with a_server(home, GLASSLINE_MAX_BATCH_ROWS="8") as running:
        yield running


@pytest.fixture
def http(tables: Server) -> Iterator[httpx.Client]:
    with tables.client() as client:
        yield client


def outputs(answer: httpx.Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {o["name"]: o["data"] for o in answer.json()["outputs"]}


def good(width: float, height: float) -> float:
    return 1 / (1 + math.exp(-(width - 2 * height)))


def test_a_table_is_a_batch_and_says_what_the_same_json_says(http: httpx.Client) -> None:
    by_table = outputs(http.post(PARTS, content="height,width\n1,3\n2,1.5\n", headers=CSV))
    rows = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": [3, 1, 1.5, 2]}
    assert by_table == outputs(http.post(PARTS, json={"inputs": [rows]}))
    expected = [good(3, 1), 1 - good(3, 1), good(1.5, 2), 1 - good(1.5, 2)]
    assert by_table["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert by_table["label"] == ["good", "bad"]


def test_windows_stand_apart_by_an_empty_line(http: httpx.Client) -> None:
    body = "width,height\n1,0\n3,2\n\n0,0\n0,1\n"
    answer = outputs(http.post(FLOW, content=body, headers=CSV))
    assert answer["probabilities"][::2] == pytest.approx([good(2, 1), good(0, 0.5)], abs=1e-6)


def test_a_text_is_one_string(http: httpx.Client) -> None:
    for said, label in (("scratch", "good"), ("dänt", "good"), ("scratch\n", "bad")):
        assert outputs(http.post(WORDS, content=said.encode(), headers=TEXT))["label"] == [label]
    latin = {"content-type": "text/plain; charset=iso-8859-1"}
    body = "dänt".encode("latin-1")
    assert outputs(http.post(WORDS, content=body, headers=latin))["label"] == ["good"]


def test_compressed_large_and_v1_bodies_are_decoded_too(http: httpx.Client) -> None:
    long = "width,height\n3," + "1." + "0" * 6000 + "\n"  # beyond what the event loop decodes
    for body, more in ((long.encode(), {}), (gzip.compress(b"3,1"), {"content-encoding": "gzip"})):
        assert outputs(http.post(PARTS, content=body, headers=CSV | more))["label"] == ["good"]
    answer = http.post("/v1/models/parts:predict", content="3,1\n", headers=CSV)
    assert answer.json()["predictions"][0]["label"] == "good"


def test_the_input_is_recorded_as_the_tensor_it_became(http: httpx.Client) -> None:
    answer = http.post(PARTS, content="height,width\n1,3\n", headers=CSV)
    record = http.get(f"/audit/records/{answer.headers['glassline-record-id']}").json()
    assert '"shape":[1,2]' in json.dumps(record, separators=(",", ":"))


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "words"),
    [
        (PARTS, CSV, b"", 400, ["no rows"]),
        (PARTS, CSV, b"width,depth\n1,2\n", 400, ["unknown column 'depth'", "'height'"]),
        (PARTS, CSV, b"1,2\n1,x\n", 400, ["line 2 (row 1)", "column 'height'", "'x'"]),
        (PARTS, CSV, b"1,nan\n", 400, ["line 1 (row 0)", "column 'height'", "nan"]),
        (PARTS, CSV, b"1,2\n" * 9, 413, ["line 9", "8 rows", "GLASSLINE_MAX_BATCH_ROWS"]),
        (PARTS, CSV, b"1,\xff\n", 400, ["byte 2", "utf-8"]),
        (FLOW, CSV, b"1,2\n\n1,2\n3,4\n", 400, ["window 1", "line 3"]),
        (WORDS, TEXT, b"", 400, ["no text"]),
        (WORDS, TEXT, b"\xff", 400, ["byte 0", "utf-8"]),
        (WORDS, {"content-type": "text/plain; charset=x"}, b"a", 415, ["charset", "iso-8859-1"]),
        (WORDS, CSV, b"1,2\n", 415, ["text/csv", "text/plain", "application/json"]),
        (PARTS, TEXT, b"good", 415, ["text/plain", "text/csv", "application/json"]),
    ],
)
@pytest.mark.parametrize("action", ["infer", "explain"])
def test_what_does_not_fit_is_refused_by_its_place(
    http: httpx.Client, path: str, headers: dict[str, str], body: bytes, status: int,
    words: list[str], action: str,
) -> None:  # fmt: skip
    answer = http.post(path.replace("infer", action), content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    for word in words:
        assert word in answer.json()["error"]


def test_the_command_line_sends_tables_and_texts(tables: Server, tmp_path: Path) -> None:
    table, text = tmp_path / "parts.csv", tmp_path / "said.txt"
    table.write_text("height,width\n1,3\n2,1\n")
    text.write_text("scratch")
    for file, model, labels in ((table, "parts", ["good", "bad"]), (text, "words", ["good"])):
        done = glassline(
            "predict", str(file), "--model", model, "--url", tables.url, home=tables.home
        )
        assert done.returncode == 0, done.stderr
        for label in labels:
            assert label in done.stdout
