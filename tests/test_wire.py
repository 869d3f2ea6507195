"""Requests on a real socket, in every way that TCP may cut them up and clients may line them up."""

from __future__ import annotations

import http.client
import json
import re
import socket
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

PATH = "/v2/models/lenet-digits/infer"
PIXELS = np.arange(32 * 32, dtype=np.uint8).tobytes()
HEADER = json.dumps(
    {
        "inputs": [
            {
                "name": "image", "datatype": "UINT8", "shape": [1, 1, 32, 32],
                "parameters": {"binary_data_size": len(PIXELS)},
            }
        ],
        "outputs": [{"name": "probabilities"}],
    }
).encode()  # fmt: skip


def request(
    pixels: bytes = PIXELS, extra: str = "", path: str = PATH, version: str = "1.1"
) -> bytes:
    body = HEADER + pixels
    head = (
        f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(HEADER)}\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture
def line(client: httpx.Client):  # type: ignore[no-untyped-def]
    """A TCP connection to the running server."""
    where = urlsplit(str(client.base_url))
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def answers(line: socket.socket, count: int) -> list[tuple[int, dict[str, str], dict[str, object]]]:
    """So many responses, read one after the other as an HTTP client would."""
    reader = line.makefile("rb")
    found = []
    for _ in range(count):
        status = int(reader.readline().split()[1])
        headers = http.client.parse_headers(reader)
        body = json.loads(reader.read(int(headers["content-length"])))
        found.append((status, {k.lower(): v for k, v in headers.items()}, body))
    return found


def probabilities(answer: tuple[int, dict[str, str], dict[str, object]]) -> list[float]:
    assert answer[0] == 200, answer
    (output,) = answer[2]["outputs"]  # type: ignore[misc]
    return output["data"]  # type: ignore[no-any-return, index]


@pytest.fixture
def expected(line: socket.socket) -> list[float]:
    line.sendall(request())
    return probabilities(answers(line, 1)[0])


@pytest.mark.parametrize("size", [1, 7, 100, 333, 1000])
def test_a_request_in_pieces_is_answered_as_one_in_one(
    line: socket.socket, expected: list[float], size: int
) -> None:
    whole = request()
    for start in range(0, len(whole), size):
        line.sendall(whole[start : start + size])
    assert probabilities(answers(line, 1)[0]) == expected


def test_requests_lined_up_are_answered_in_order(line: socket.socket) -> None:
    images = [bytes([n]) * 1024 for n in range(12)]
    singles = []
    for image in images:
        line.sendall(request(image))
        singles.append(probabilities(answers(line, 1)[0]))
    # One in three over the other lane: an escape in the path is not for the quick one.
    paths = [PATH.replace("lenet", "le%6Eet") if n % 3 == 1 else PATH for n in range(12)]
    line.sendall(
        b"".join(
            request(image, f"X-Request-Id: {n}\r\n", path)
            for n, (image, path) in enumerate(zip(images, paths, strict=True))
        )
    )
    got = answers(line, 12)
    assert [headers["x-request-id"] for _, headers, _ in got] == [str(n) for n in range(12)]
    assert [probabilities(one) for one in got] == singles


def test_a_refusal_leaves_the_connection_and_its_neighbours_whole(
    line: socket.socket, expected: list[float]
) -> None:
    line.sendall(request() + request(b"short") + request())
    good, bad, again = answers(line, 3)
    assert bad[0] == 400
    assert set(bad[2]) == {"error"}
    assert probabilities(good) == probabilities(again) == expected


@pytest.mark.parametrize(("extra", "version"), [("Connection: close\r\n", "1.1"), ("", "1.0")])
def test_whoever_asks_for_the_end_gets_it(line: socket.socket, extra: str, version: str) -> None:
    line.sendall(request(extra=extra, version=version))
    (answer,) = answers(line, 1)
    assert answer[0] == 200
    assert answer[1]["connection"] == "close"
    assert line.recv(1) == b""


def test_a_client_that_waits_for_leave_gets_it(line: socket.socket, expected: list[float]) -> None:
    whole = request(extra="Expect: 100-continue\r\n")
    head, body = whole.split(b"\r\n\r\n", 1)
    line.sendall(head + b"\r\n\r\n")
    assert line.recv(100).startswith(b"HTTP/1.1 100")
    line.sendall(body)
    assert probabilities(answers(line, 1)[0]) == expected


def test_a_client_that_leaves_before_its_answer_harms_nobody(client: httpx.Client) -> None:
    where = urlsplit(str(client.base_url))
    for _ in range(20):
        with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
            connection.sendall(request() * 3)
    assert client.get("/v2/health/ready").status_code == 200


def test_both_lanes_say_the_same(client: httpx.Client) -> None:
    headers = {
        "Inference-Header-Content-Length": str(len(HEADER)),
        "Content-Type": "application/octet-stream",
    }
    said = []
    # A query string is for the other lane, and means nothing to either.
    for path in (PATH, f"{PATH}?lane=other"):
        response = client.post(path, content=HEADER + PIXELS, headers=headers)
        body = re.sub(r'"record_id":"[^"]+"', "", response.text)
        said.append((response.status_code, sorted(response.headers), body))
    assert said[0] == said[1]
