"""The exporter's table of operators is read once for all graphs that a test process exports."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def operators_are_read_once() -> Iterator[None]:
    """Torch reads the same five hundred anew for each graph: a third of an export's time."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = functools.cache(ONNXRegistry.from_torchlib)

    def known(opset_version: int) -> ONNXRegistry:
        table = copy.copy(read(opset_version=opset_version))
        table.functions = {name: list(found) for name, found in table.functions.items()}
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(known))
        yield
