"""torchvision's sets are read where they are, and where they are not it is said what to do."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from service.errors import GlasslineError
from service.protocol.media import encode_png
from training.data import torchvision_sets
from training.data.pictures import decoded, square

MEDIA = square(32, "L")


def write(path: Path, values: np.ndarray) -> None:
    """An IDX file, as MNIST's are: type 8 = UINT8, number of axes, extents, values."""
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def test_a_set_that_is_there_is_read_and_split(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    pictures = {}
    for part, count in (("train", 200), ("t10k", 50)):
        pictures[part] = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        write(raw / f"{part}-images-idx3-ubyte", pictures[part])
        write(raw / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    data = torchvision_sets.load("mnist", tmp_path, MEDIA, Console(file=io.StringIO()))
    assert [len(part) for part in data.parts] == [180, 20, 50]
    assert data.labels[:2] == ("0 - zero", "1 - one")
    wanted = decoded(encode_png(pictures["t10k"][3][np.newaxis]), MEDIA)
    assert np.array_equal(data.test.images[3], wanted[0])
    assert data.test.labels[3] == 3


def test_without_a_network_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(GlasslineError, match="CIFAR10 is not in .* and cannot be downloaded") as no:
        torchvision_sets.load("cifar10", tmp_path, MEDIA, Console(file=io.StringIO()))
    assert "--data FOLDER" in str(no.value)
