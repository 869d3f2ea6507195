"""What decoding and encoding cost, in microseconds: `python tests/bench/codec.py`.

One request a size and form, CPU time of one thread, the best of many short rounds, no server.
"""

from __future__ import annotations

import io
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.manifest import ImageMedia, Manifest, Tensor
from service.protocol import binary_codec, json_codec, media
from tests.protocol.manifests import manifest

ROUNDS = 25
ROUND_SECONDS = 0.02


def microseconds(call: Callable[[], object]) -> float:
    """Mean CPU time of a call in the best of the rounds."""
    timer = timeit.Timer(call, timer=time.process_time)
    number = 1
    while timer.timeit(number) < ROUND_SECONDS / 5:
        number *= 2
    number *= 5
    return min(timer.repeat(ROUNDS, number)) / number * 1e6


def model(shape: tuple[int, int, int], datatype: str, classes: int) -> Manifest:
    """A classifier of pictures."""
    channels, height, width = shape
    color = "L" if channels == 1 else "RGB"
    picture = ImageMedia.model_validate(
        {"input": "image", "color": color, "width": width, "height": height}
    )
    return manifest(
        "bench",
        [Tensor.model_validate({"name": "image", "datatype": datatype, "shape": (-1, *shape)})],
        [Tensor(name="probabilities", datatype="FP32", shape=(-1, classes))],
        media=picture if datatype == "UINT8" else None,
    )


def bodies(array: NDArray[np.generic], datatype: str) -> tuple[bytes, bytes, int]:
    """The same request in JSON and in binary, and the size of the latter's JSON."""
    tensor = {"name": "image", "datatype": datatype, "shape": list(array.shape)}
    data = array.reshape(-1)
    flat = orjson.dumps({"inputs": [{**tensor, "data": data}]}, option=orjson.OPT_SERIALIZE_NUMPY)
    head = orjson.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": array.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
    )
    return flat, head + array.tobytes(), len(head)


def measure(table: Table, shape: tuple[int, int, int], datatype: str, classes: int) -> None:
    """Add one row a form: JSON, binary, raw, PNG."""
    random = np.random.default_rng(0)
    model_ = model(shape, datatype, classes)
    array = random.integers(0, 256, (1, *shape), np.uint8).astype(
        np.uint8 if datatype == "UINT8" else np.float32
    )
    answer = {
        "probabilities": random.random((1, classes), np.float32),
        "label": np.array(["class 1"], dtype=object),
        "confidence": np.array([0.5], np.float32),
    }
    text, body, size = bodies(array, datatype)
    as_json = json_codec.decode(text, model_, 64)
    as_bytes = binary_codec.decode(body, size, model_, 64)
    parameters = {"record_id": "0192f0c1-2e4e-7bbb-8b5f-000000000000"}
    encode_json = microseconds(lambda: json_codec.encode(model_, answer, as_json, parameters))
    encode_bytes = microseconds(lambda: binary_codec.encode(model_, answer, as_bytes, parameters))
    rows = [
        ("JSON", text, lambda: json_codec.decode(text, model_, 64), encode_json),
        ("binary", body, lambda: binary_codec.decode(body, size, model_, 64), encode_bytes),
        ("raw", array.tobytes(), lambda: binary_codec.decode(raw, 0, model_, 64), encode_bytes),
    ]
    raw = array.tobytes()
    if model_.media is not None:
        how, png = model_.media, media.encode_png(array)
        rows.append(("PNG", png, lambda: media.decode_image(png, how, 10**6), encode_json))
    floors = {"JSON": microseconds(lambda: orjson.loads(text))}
    name = f"(1, {', '.join(map(str, shape))}) {datatype}"
    for form, sent, decode, encode in rows:
        floor = f"{floors[form]:.1f}" if form in floors else ""
        table.add_row(
            name, form, f"{len(sent):,}", f"{microseconds(decode):.1f}", floor, f"{encode:.1f}"
        )
    table.add_section()


def main() -> None:
    """Measure and print."""
    table = Table(title="codec cost, µs a request (answer: probabilities, label, confidence)")
    for column in ("input", "body", "bytes", "decode", "of it orjson.loads", "encode"):
        table.add_column(column, justify="left" if column in ("input", "body") else "right")
    measure(table, (1, 32, 32), "UINT8", 10)
    measure(table, (1, 32, 32), "FP32", 10)
    measure(table, (3, 224, 224), "UINT8", 1000)
    measure(table, (3, 224, 224), "FP32", 1000)
    Console(file=io.TextIOWrapper(sys.stdout.buffer, "utf-8", line_buffering=True)).print(table)


if __name__ == "__main__":
    main()
