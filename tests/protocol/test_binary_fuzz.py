"""A hundred thousand damaged binary requests: each a valid request or our own refusal, at once."""

from __future__ import annotations

import contextlib
import itertools
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from service.errors import GlasslineError, InvalidRequest, TooLarge
from service.manifest import Manifest, Tensor
from service.protocol import binary_codec
from service.protocol.datatypes import DTYPES
from service.routes.status import status_of
from tests.protocol.manifests import ALL, SERIES, SINGLE, TINY
from tests.protocol.test_any_bytes import MAX_ROWS, check

CASES = 100_000
#: No case may take longer: a hang, or work that a lying size has set off.
#: Of this thread's own computing: a busy machine makes nobody's test fail.
CASE_SECONDS = 0.25
#: No case may ask for more memory: bodies have at most some kilobytes, and lies go to 2**64.
CASE_BYTES = 1_000_000
LIES = (0, 1, 3, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64, 10**30, -1, -(2**63))


def tensor_bytes(tensor: Tensor, rows: int, random: np.random.Generator) -> tuple[list[int], bytes]:
    """A valid tensor: its shape and its bytes."""
    shape = [rows, *(extent if extent > 0 else 2 for extent in tensor.shape[1:])]
    count = int(np.prod(shape))
    if tensor.datatype == "BYTES":
        words = [
            bytes(random.integers(97, 123, random.integers(0, 9), np.uint8)) for _ in range(count)
        ]
        return shape, b"".join(len(word).to_bytes(4, "little") + word for word in words)
    if tensor.datatype == "BOOL":
        return shape, random.integers(0, 2, count, np.uint8).tobytes()
    low, high = tensor.range or (0, 100)
    return shape, random.uniform(low, high, count).astype(DTYPES[tensor.datatype]).tobytes()


def valid(model: Manifest, random: np.random.Generator) -> tuple[dict[str, Any], bytes]:
    """A valid request: the JSON object and the tensors' bytes."""
    rows, tail = int(random.integers(1, 4)), b""
    inputs = []
    for tensor in model.inputs:
        shape, raw = tensor_bytes(tensor, rows, random)
        inputs.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        tail += raw
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, tail


def damaged_document(document: dict[str, Any], random: np.random.Generator) -> None:
    """One lie in the JSON: a size, a shape, a name, a type, a member too many or too few."""
    tensor = document["inputs"][random.integers(len(document["inputs"]))]
    lie: Any = LIES[random.integers(len(LIES))]
    match random.integers(8):
        case 0:
            tensor["parameters"]["binary_data_size"] = lie
        case 1:
            tensor["shape"][random.integers(len(tensor["shape"]))] = lie
        case 2:
            tensor["shape"] = [lie] * int(random.integers(0, 5))
        case 3:
            tensor["datatype"] = list(DTYPES)[random.integers(len(DTYPES))]
        case 4:
            del tensor[list(tensor)[random.integers(len(tensor))]]
        case 5:
            document["inputs"].append(dict(tensor))
        case 6:
            tensor["data"] = [lie]
        case 7:
            document["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": lie}}]


def case(model: Manifest, random: np.random.Generator) -> tuple[bytes, int]:
    """A body and what its header field says of the JSON's size, damaged in one to three ways."""
    document, tail = valid(model, random)
    for _ in range(int(random.integers(0, 3))):
        # What it would damage may be damaged already.
        with contextlib.suppress(LookupError, TypeError, ValueError):
            damaged_document(document, random)
    try:
        head = orjson.dumps(document)
    except TypeError:  # a whole number that JSON has and orjson has not
        head = str(document).replace("'", '"').replace("True", "true").encode()
    size = len(head)
    body = bytearray(head + tail)
    match random.integers(7):
        case 0:
            for _ in range(int(random.integers(1, 9))):
                body[random.integers(len(body))] ^= 1 << random.integers(8)
        case 1:
            del body[random.integers(len(body)) :]
        case 2:
            body += bytes(random.integers(0, 256, random.integers(1, 40), np.uint8))
        case 3:
            start = int(random.integers(len(body)))
            del body[start : start + int(random.integers(1, 20))]
        case 4:
            size = int(random.choice([0, 1, size - 1, size + 1, len(body), len(body) + 1, 2**40]))
        case 5 if tail:  # the length before a string, or four bytes of a number
            start = size + 4 * int(random.integers(max(1, len(tail) // 4)))
            lie = int(random.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1]))
            body[start : start + 4] = lie.to_bytes(4, "little")
    return bytes(body), size


def cases(count: int, seed: int) -> Iterator[tuple[Manifest, bytes, int]]:
    random = np.random.default_rng(seed)
    models = [TINY, TINY, SERIES, SERIES, ALL, *SINGLE.values()]
    for number in range(count):
        model = models[number % len(models)]
        yield model, *case(model, random)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Allocations are counted, numpy's among them."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def survives(model: Manifest, body: bytes, size: int) -> bool:
    """Whether the request was accepted; anything but that or our refusal fails.

    Memory is held to its bound inside `traced`.
    """
    request, refusal = None, None
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(3):  # what is slow once is the machine, what is slow each time is the body
        start = time.thread_time()
        try:
            request = binary_codec.decode(body, size, model, MAX_ROWS)
        except GlasslineError as error:
            refusal = error
        took = time.thread_time() - start
        if took < CASE_SECONDS:
            break
    assert took < CASE_SECONDS, (model.name, size, body[:500])
    used = tracemalloc.get_traced_memory()[1] - before
    assert used < CASE_BYTES, (used, model.name, size, body[:500])
    if request is not None:
        check(request, model)
        return True
    assert isinstance(refusal, (InvalidRequest, TooLarge)), refusal
    assert 400 <= status_of(refusal) < 500
    return False


def accepted(count: int, seed: int) -> int:
    """How many of so many damaged requests are accepted; only decoding is traced, for speed."""
    made, total = cases(count, seed), 0
    while batch := list(itertools.islice(made, 1_000)):
        with traced():
            total += sum(survives(*one) for one in batch)
    return total


def test_what_is_not_damaged_is_accepted() -> None:
    random = np.random.default_rng(1)
    for model in (TINY, SERIES, ALL, *SINGLE.values()):
        for _ in range(5):  # the second time by the form that was remembered
            document, tail = valid(model, random)
            head = orjson.dumps(document)
            assert survives(model, head + tail, len(head))


def test_an_allocation_over_the_bound_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure itself: a decoder that believes a lying size fails the test."""

    def believes(*_: Any) -> None:
        np.empty(CASE_BYTES, np.uint8)
        raise InvalidRequest("too late")

    monkeypatch.setattr(binary_codec, "decode", believes)
    with traced(), pytest.raises(AssertionError, match=TINY.name):
        survives(TINY, b"{}", 2)


def test_some_thousand_damaged_requests() -> None:
    assert 200 < accepted(4_000, seed=2) < 3_800, (
        "the damage is too great or too small to test anything"
    )


@pytest.mark.slow
def test_a_hundred_thousand_damaged_requests() -> None:
    assert CASES // 20 < accepted(CASES, seed=int.from_bytes(b"glas", "big")) < CASES * 19 // 20


def test_damaged_requests_to_a_server_harm_nobody(client: httpx.Client) -> None:
    """Two thousand over HTTP, and a right one among each hundred gets the right answer."""
    random = np.random.default_rng(5)
    path = "/v2/models/lenet-digits/infer"
    image = Tensor(name="image", datatype="UINT8", shape=(-1, 1, 32, 32), range=(0, 255))
    model = TINY.model_copy(update={"inputs": (image,), "name": "lenet-digits"})
    document, tail = valid(model, np.random.default_rng(9))
    head = orjson.dumps(document)
    right = None
    for number in range(2_000):
        body, size = case(model, random)
        headers = {"inference-header-content-length": str(size)}
        response = client.post(path, content=body, headers=headers)
        if response.status_code != 200:
            assert 400 <= response.status_code < 500, response.text
            assert set(response.json()) == {"error"}
        if number % 100 == 0:
            headers = {"inference-header-content-length": str(len(head))}
            answer = client.post(path, content=head + tail, headers=headers)
            assert answer.status_code == 200
            said = answer.content[int(answer.headers["inference-header-content-length"]) :]
            right = right or said
            assert said == right
