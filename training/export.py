"""A torch network to one ONNX file."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import nn
from torch.jit._trace import TracerWarning

from training.lessons import one_thread, quiet

#: The newest opset that every runtime from ONNX Runtime 1.20 on knows in full.
OPSET = 20


def export(
    network: nn.Module,
    rows: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
    path: Path,
    *,
    free: Mapping[str, Mapping[int, str]] = MappingProxyType({}),
    exporter: Literal["dynamo", "torchscript"] = "dynamo",
) -> None:
    """Write a network as ONNX that takes any number of rows.

    Args:
        network: takes the inputs in this order, batch on axis 0, and gives the outputs in theirs:
            one tensor, or a tuple of them.
        rows: by the input's name, two or more rows to trace with; one row would be taken for a
            constant.
        outputs: their names.
        path: the file to write; weights are inside.
        free: names of further axes whose extent is free, by input; `torchscript` also takes
            those of outputs.
        exporter: `torchscript` for recurrent networks, whose steps the other one freezes.
    """
    network = network.eval().cpu()
    arguments = tuple(torch.from_numpy(values) for values in rows.values())
    axes = {name: {0: "rows", **free.get(name, {})} for name in rows}
    names: Any = {"input_names": list(rows), "output_names": list(outputs)}
    common: Any = {"opset_version": OPSET, "verbose": False, "external_data": False, **names}
    with _quiet_exporter(), one_thread():
        if exporter == "torchscript":
            torch.onnx.export(
                network,
                arguments,
                path,
                dynamo=False,
                dynamic_axes={
                    **axes,
                    **{name: {0: "rows", **free.get(name, {})} for name in outputs},
                },
                **common,
            )
            return
        known = {
            name: torch.export.Dim(name, min=1, max=2**16)
            for name in {called for named in axes.values() for called in named.values()}
        }
        shapes = tuple(
            {axis: known[called] for axis, called in axes[name].items()} for name in rows
        )
        program = torch.onnx.export(
            network,
            arguments,
            dynamo=True,
            # What stands around any network takes its inputs as one argument, `*inputs`.
            dynamic_shapes=(shapes,) if _takes_any(network) else shapes,
            **common,
        )
        assert program is not None
        program.save(path, external_data=False)


def _takes_any(network: nn.Module) -> bool:
    """Whether it is written as `forward(self, *inputs)`."""
    taken = inspect.signature(network.forward).parameters.values()
    return any(one.kind is one.VAR_POSITIONAL for one in taken)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    with quiet("onnxscript", "onnx_ir", "torch.onnx"):
        # The axes of several inputs that bear one name are one axis: that is what it is for.
        warnings.filterwarnings("ignore", message="# The axis name: .* will not be used")
        # The older exporter is asked for where the newer one fails; the gate judges both.
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based")
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size")
        warnings.filterwarnings("ignore", message="The feature will be removed", module="torch")
        yield
