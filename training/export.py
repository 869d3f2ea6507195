"""A torch network to one ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from training.lessons import one_thread

#: The newest opset that every runtime from ONNX Runtime 1.20 on knows in full.
OPSET = 20


def export(network: nn.Module, images: NDArray[np.uint8], path: Path) -> None:
    """Write a network as ONNX: input `image`, output `probabilities`, any number of rows.

    Args:
        network: images (n, C, H, W) UINT8, 0 to 255, to probabilities (n, classes).
        images: two or more rows to trace with; one row would be taken for a constant.
        path: the file to write; weights are inside.
    """
    network = network.eval().cpu()
    rows = torch.export.Dim("rows", min=1, max=2**16)
    with _quiet_exporter(), one_thread():
        program = torch.onnx.export(
            network,
            (torch.from_numpy(images),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=({0: rows},),
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def halve(path: Path) -> None:
    """Rewrite an ONNX file so that it computes in FP16; its inputs and outputs stay as they are.

    Weights beyond FP16's range go to its nearest end: what that changes, the parity gate measures.
    On a GPU with tensor cores this is faster, on any device the file is half as large.

    Args:
        path: a graph in FP32 with its weights inside.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the float32 number .* will be truncated to")
        half = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, path)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    logs = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        # torch 2.13's own exporter copies objects that torch has deprecated.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprec")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
