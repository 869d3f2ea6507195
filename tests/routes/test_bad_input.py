"""Whatever a caller sends: the right 4xx, the protocol's error form, and nobody else notices."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.running_server import Server

INFER = "/v2/models/lenet-digits/infer"
EXPLAIN = "/v2/models/lenet-digits/explain"
JSON = {"content-type": "application/json"}
PNG = {"content-type": "image/png"}


def v2(shape: str = "[1,1,32,32]", datatype: str = "UINT8", data: str | None = None) -> bytes:
    data = "[" + ",".join(["0"] * 1024) + "]" if data is None else data
    return (
        f'{{"inputs":[{{"name":"image","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}'
    ).encode()


def png_of_declared_size(width: int, height: int) -> bytes:
    """A valid PNG whose header promises width x height grey pixels, in very few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    compressor = zlib.compressobj(9)
    pixels = b"".join(compressor.compress(bytes(width + 1)) for _ in range(height))
    pixels += compressor.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.fixture(autouse=True)
def next_request_unharmed(client: httpx.Client, digit_png: bytes) -> Iterator[None]:
    """After each bad request, both workers still answer a good one."""
    yield
    for _ in range(4):
        assert client.post(INFER, content=digit_png, headers=PNG).status_code == 200


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    for word in words:
        assert word in body["error"]


BAD_BODIES = [
    ("an empty body", b"", 400, ["body"]),
    ("truncated JSON", v2()[:-30], 400, ["JSON"]),
    ("not an object", b"[1,2]", 400, ["object"]),
    ("no inputs", b"{}", 400, ["inputs"]),
    ("NaN", v2(data="[NaN" + ",0" * 1023 + "]"), 400, []),
    ("Infinity", v2(data="[Infinity" + ",0" * 1023 + "]"), 400, []),
    ("a number out of range", v2(data="[256" + ",0" * 1023 + "]"), 400, ["image"]),
    ("a wrong shape", v2("[1,3,32,32]"), 400, ["shape", "image"]),
    ("a wrong rank", v2("[1024]"), 400, ["shape"]),
    ("a negative shape", v2("[-1,1,32,32]"), 400, ["shape"]),
    ("an astronomical shape", v2("[99999999999,1,32,32]"), 413, ["99999999999"]),
    ("a wrong datatype", v2(datatype="FP32"), 400, ["UINT8", "FP32"]),
    ("an unknown datatype", v2(datatype="FLOAT"), 400, ["FLOAT"]),
    ("too few elements", v2(data="[1,2,3]"), 400, ["1024", "3"]),
    ("text for numbers", v2(data='["a"' + ',"a"' * 1023 + "]"), 400, ["image"]),
    ("an unknown input", v2().replace(b'"image"', b'"picture"'), 400, ["picture", "image"]),
    ("deep nesting", b"[" * 100_000, 400, []),
    ("bytes that are no UTF-8", b'{"inputs":"\xff\xfe"}', 400, []),
]


@pytest.mark.parametrize(
    ("body", "status", "words"), [b[1:] for b in BAD_BODIES], ids=[b[0] for b in BAD_BODIES]
)
@pytest.mark.parametrize("route", [INFER, EXPLAIN])
def test_bad_json(
    client: httpx.Client, route: str, body: bytes, status: int, words: list[str]
) -> None:
    refused(client.post(route, content=body, headers=JSON), status, *words)


def test_unknown_models_and_versions(client: httpx.Client) -> None:
    for path in ("/v2/models/nobody/infer", "/v2/models/nobody/explain"):
        refused(client.post(path, content=v2(), headers=JSON), 404, "nobody", "lenet-digits")
    for path in ("/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/..%2f..%2fetc/ready"):
        refused(client.get(path), 404)
    wrong_version = client.post("/v2/models/lenet-digits/versions/9/infer", content=v2())
    refused(wrong_version, 404, "9", "1")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["PNG", "JPEG"]),
        (b"this is no picture", ["PNG", "JPEG"]),
        (b"GIF89a" + bytes(100), []),
        (png_of_declared_size(64, 64)[:60], []),
    ],
    ids=["empty", "text", "gif", "truncated"],
)
def test_not_an_image(client: httpx.Client, body: bytes, words: list[str]) -> None:
    refused(client.post(INFER, content=body, headers=PNG), 400, *words)


def test_a_decompression_bomb_costs_a_header_and_no_more(client: httpx.Client) -> None:
    bomb = png_of_declared_size(20_000, 20_000)
    assert len(bomb) < 1_000_000
    refused(client.post(INFER, content=bomb, headers=PNG), 413, "400000000", "pixels")


def test_a_body_of_100_mb_is_refused_and_read_by_nobody(client: httpx.Client) -> None:
    refused(client.post(INFER, content=bytes(100_000_000), headers=JSON), 413, "100000000")


def test_a_chunked_body_cannot_hide_its_size(client: httpx.Client) -> None:
    chunks = (bytes(1_000_000) for _ in range(100))
    refused(client.post(INFER, content=chunks, headers=JSON), 413, "GLASSLINE_MAX_BODY_BYTES")


def test_curl_is_told_before_it_sends_100_mb(server: Server, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    done = subprocess.run(
        ["curl", "-s", "-w", "%{http_code}", "--data-binary", f"@{big}", server.url + INFER],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.endswith(b"413")


def test_media_types_that_the_model_does_not_take(client: httpx.Client) -> None:
    for media_type in ("image/gif", "text/csv", "application/xml"):
        answer = client.post(INFER, content=b"x", headers={"content-type": media_type})
        refused(answer, 415, media_type, "image/png", "application/json")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"num_samples": "0"}, ["num_samples"]),
        ({"num_samples": "1000000000"}, ["num_samples", "20000"]),
        ({"num_samples": "many"}, ["num_samples", "many"]),
        ({"num_features": "-1"}, ["num_features"]),
        ({"num_features": "100000"}, ["num_features"]),
        ({"target": "cat"}, ["target", "cat"]),
        ({"target": "10"}, ["target", "0 to 9"]),
        ({"row": "1"}, ["row", "1"]),
        ({"seed": "-1"}, ["seed"]),
        ({"method": "magic"}, ["method"]),
        ({"colour": "red"}, ["colour", "num_samples"]),
        ({"segmentation": "jigsaw"}, ["segmentation"]),
    ],
    ids=str,
)
def test_explain_parameters(
    client: httpx.Client, digit_png: bytes, parameters: dict[str, str], words: list[str]
) -> None:
    answer = client.post(EXPLAIN, content=digit_png, headers=PNG, params=parameters)
    refused(answer, 400, *words)


def test_parameters_that_stand_twice(client: httpx.Client, digit_png: bytes) -> None:
    answer = client.post(f"{EXPLAIN}?seed=1&seed=2", content=digit_png, headers=PNG)
    refused(answer, 400, "twice")


def test_a_media_type_that_no_explanation_has(client: httpx.Client, digit_png: bytes) -> None:
    headers = {**PNG, "accept": "video/mp4"}
    refused(client.post(EXPLAIN, content=digit_png, headers=headers), 406, "image/png")


@pytest.mark.parametrize("record_id", ["nobody", "0", "%00", "a" * 64, "'; DROP TABLE records;--"])
def test_unknown_records(client: httpx.Client, record_id: str) -> None:
    refused(client.get(f"/audit/records/{record_id}"), 404)
    refused(client.get(f"/v2/explanations/{record_id}"), 404)
    refused(client.post(f"/v2/records/{record_id}/explain"), 404)


def test_a_prediction_is_not_an_explanation(client: httpx.Client, digit_png: bytes) -> None:
    answer = client.post(INFER, content=digit_png, headers=PNG)
    record_id = answer.headers["glassline-record-id"]
    refused(client.get(f"/v2/explanations/{record_id}"), 404, "prediction")


def test_a_constant_image_says_why_it_cannot_be_cut(client: httpx.Client) -> None:
    picture = io.BytesIO()
    Image.new("L", (32, 32), 128).save(picture, "PNG")
    answer = client.post(
        EXPLAIN, content=picture.getvalue(), headers=PNG, params={"segmentation": "quickshift"}
    )
    refused(answer, 400, "segmentation=grid")


def test_routes_and_methods_that_do_not_exist(client: httpx.Client) -> None:
    refused(client.get("/nowhere"), 404, "/docs")
    refused(client.get(INFER), 405)
    refused(client.delete("/v2"), 405)
    refused(client.post("/v2/models/lenet-digits/predict"), 404)


@pytest.mark.parametrize(("name", "task"), [("beam_width", "translate"), ("count", "generate")])
def test_parameters_of_another_task_are_refused(
    client: httpx.Client, digit_png: bytes, name: str, task: str
) -> None:
    answer = client.post(INFER, content=digit_png, headers=PNG, params={name: "5"})
    refused(answer, 400, name, f"not {task}")
