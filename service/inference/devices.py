"""Where a graph runs: the CPU, or which of the GPUs; and how its tensors get there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import Unavailable

Device = Literal["cpu", "cuda", "auto"]
#: Runs a graph: every input by name to every output in order.
Runner = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"


def providers(device: Device, gpu: int = 0) -> list[str | tuple[str, dict[str, int]]]:
    """Execution providers to ask ONNX Runtime for, first choice first.

    Args:
        device: what GLASSLINE_DEVICE says.
        gpu: number of the GPU, among those that this process sees.

    Raises:
        Unavailable: `cuda` is demanded of an ONNX Runtime that has none.
    """
    offered = ort.get_available_providers()
    if device == "cpu":
        return [CPU]
    if CUDA in offered:
        return [(CUDA, {"device_id": gpu}), CPU]
    if device == "cuda":
        raise Unavailable(
            f"device 'cuda' was demanded, but this ONNX Runtime offers only {', '.join(offered)}. "
            "Install glassline[gpu], or set GLASSLINE_DEVICE=cpu."
        )
    return [CPU]


def fallback(device: Device, provider: str) -> str:
    """Why a graph runs on the CPU where a GPU was to be expected; empty where it was not.

    Args:
        device: what GLASSLINE_DEVICE says.
        provider: that the session has come to run on.
    """
    if device != "auto" or provider == CUDA:
        return ""
    if CUDA in ort.get_available_providers():
        return "CUDA could not be opened; check the driver and its version"
    if gpus():
        return "there is a GPU, but this ONNX Runtime has no CUDA; install glassline[gpu]"
    return ""


def gpus() -> int:
    """NVIDIA GPUs that this process is given."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        # CUDA reads this list up to the first entry that names no device.
        names = [name.strip() for name in given.split(",")]
        return next((n for n, name in enumerate(names) if name in ("", "-1")), len(names))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def gpu_of(worker: int) -> int:
    """The GPU of a worker process: each its own in turn, since all of them see all GPUs.

    Args:
        worker: its number under its supervisor, from 0.
    """
    return worker % max(1, gpus())


def runner(session: ort.InferenceSession, provider: str) -> Runner:
    """How to run a session: bound to the GPU's memory on CUDA, directly on the CPU.

    Args:
        session: of a graph.
        provider: that it runs on.
    """
    names = [output.name for output in session.get_outputs()]
    ends = [*session.get_inputs(), *session.get_outputs()]
    # Strings live in the CPU's memory alone.
    if provider == CUDA and not any(end.type == "tensor(string)" for end in ends):
        return Bound(session, names)
    return partial(session.run, names)


class Bound:
    """Runs a session with its inputs put into the device's memory first (IO binding).

    The outputs stay there until all of them are fetched. Each run has a binding of its own,
    so that threads may run at once.

    Source: https://onnxruntime.ai/docs/api/python/api_summary.html, "Data on device".
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        outputs: Sequence[str],
        device: str = "cuda",
    ) -> None:
        self._session = session
        self._outputs = outputs
        self._device = device
        options = session.get_provider_options().get(CUDA, {})
        self._gpu = int(options.get("device_id", 0))

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Every output in order, in the CPU's memory."""
        binding = self._session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in self._outputs:
            binding.bind_output(name, self._device, self._gpu)
        self._session.run_with_iobinding(binding)
        outputs: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return outputs
