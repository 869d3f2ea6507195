"""One ONNX graph in memory, on the device that was asked for."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import CorruptModel, InvalidRequest, Unavailable
from service.inference import devices
from service.inference.devices import Device
from service.inference.preparation import preparation_of
from service.protocol.datatypes import DTYPES
from service.store import StoredModel

#: Graphs faster than this on one thread are slower on several.
ONE_THREAD_SECONDS = 0.001
#: Rows of the batch by which it is measured whether batches are worth it.
PROBE_ROWS = 4
_log = logging.getLogger("glassline.session")


class Session:
    """An ONNX Runtime session that knows its provider and how long one row takes.

    Args:
        model: a stored, verified model.
        role: which of its graphs.
        device: `cuda` refuses to fall back; `auto` takes CUDA where it is and says which.
        threads: intra-op threads, >= 1.
        gpu: number of the GPU, where it is one.

    Raises:
        CorruptModel: ONNX Runtime cannot load the graph.
        Unavailable: `cuda` was demanded and is not to be had.
    """

    def __init__(
        self,
        model: StoredModel,
        role: str = "predict",
        device: Device = "cpu",
        threads: int = 1,
        gpu: int = 0,
    ) -> None:
        self.reference = model.manifest.reference
        self.threads = threads
        self.runtime_version: str = ort.__version__
        #: what becomes of inputs before this graph; None where it takes them as they are sent
        self.preparation = preparation_of(model) if role == "predict" else None
        session = self._open(model, role, device, gpu)
        self.provider: str = session.get_providers()[0]
        if device == "cuda" and self.provider != devices.CUDA:
            raise Unavailable(
                f"{self.reference}: device 'cuda' was demanded, but ONNX Runtime fell back to "
                f"{self.provider}. Check the driver, or set GLASSLINE_DEVICE=cpu."
            )
        #: why it runs on the CPU although a GPU was to be expected; empty if not
        self.fallback = devices.fallback(device, self.provider)
        self._run = devices.runner(session, self.provider)
        self.output_names = [o.name for o in session.get_outputs()]
        #: seconds for one row, measured at warm-up; decides inline or thread.
        self.row_seconds = 0.0
        #: how many times faster a row is in a batch; 1 = joining requests gains nothing
        self.batch_gain = 1.0

    def _open(
        self, model: StoredModel, role: str, device: Device, gpu: int
    ) -> ort.InferenceSession:
        check_runtime()
        try:
            wanted = devices.providers(device, gpu)
        except Unavailable as error:
            raise Unavailable(f"{self.reference}: {error}") from None
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads burn the cores that the other processes need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return ort.InferenceSession(str(model.graph(role)), options, providers=wanted)
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise CorruptModel(
                f"{self.reference}: ONNX Runtime cannot load graph '{role}': {error}"
            ) from None

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            inputs: every input, batch on axis 0, as the manifest declares them.

        Returns:
            Every graph output by name, and what is known from the inputs alone.

        Raises:
            InvalidRequest: the graph refuses these values, an index out of range say.
        """
        known: Mapping[str, NDArray[Any]] = {}
        if self.preparation is not None:
            inputs, known = self.preparation.feed(inputs)
        try:
            values = self._run(inputs)
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise InvalidRequest(
                f"{self.reference}: the graph refuses these inputs: {error}"
            ) from None
        return {**dict(zip(self.output_names, values, strict=True)), **known}

    def warm_up(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Run until the allocator is warm; the fastest of three runs is `row_seconds`."""
        self.row_seconds = self._seconds_a_row(inputs)
        _log.info("%s on %s: %.3f ms a row", self.reference, self.provider, self.row_seconds * 1e3)
        if self.fallback:
            _log.warning("%s runs on the CPU: %s.", self.reference, self.fallback)

    def probe_batch(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Measure `batch_gain` with these inputs, several rows of them."""
        self.batch_gain = self.row_seconds / self._seconds_a_row(inputs)
        _log.info(
            "%s: %.2f times as fast a row in a batch of %d",
            self.reference, self.batch_gain, len(next(iter(inputs.values()))),
        )  # fmt: skip

    def _seconds_a_row(self, inputs: Mapping[str, NDArray[Any]]) -> float:
        """The fastest of three runs, after one that warms up."""
        times = []
        for _ in range(4):
            start = time.perf_counter()
            self.run(inputs)
            times.append(time.perf_counter() - start)
        return min(times[1:]) / len(next(iter(inputs.values())))


def warm_session(model: StoredModel, device: Device, threads: int = 0, gpu: int = 0) -> Session:
    """A session that has run.

    Args:
        model: a stored, verified model.
        device: see `Session`.
        threads: of the graph; 0 = one where more would only hand the work around, else all cores.
        gpu: see `Session`.

    Raises:
        CorruptModel, Unavailable: see `Session`.
    """
    session = Session(model, device=device, threads=threads or 1, gpu=gpu)
    _warm_up(model, session)
    cores = len(os.sched_getaffinity(0))
    slow = session.provider == devices.CPU and session.row_seconds > ONE_THREAD_SECONDS
    if not threads and cores > 1 and slow:
        session = Session(model, device="cpu", threads=cores)
        _warm_up(model, session)
    return session


def _warm_up(model: StoredModel, session: Session) -> None:
    try:
        session.warm_up(blank_inputs(model))
        if session.row_seconds > ONE_THREAD_SECONDS:  # faster ones are never queued
            session.probe_batch(blank_inputs(model, PROBE_ROWS))
    except InvalidRequest as error:
        # Zeros need not be a sensible input; the first real one warms it up then.
        _log.warning("%s could not be warmed up with zeros: %s", session.reference, error)


def blank_inputs(model: StoredModel, rows: int = 1, free: int = 8) -> dict[str, NDArray[Any]]:
    """All-zero inputs in the manifest's shapes; free extents become `free`."""
    blanks: dict[str, NDArray[Any]] = {}
    sequences = model.manifest.sequences
    if sequences is not None:
        free = min(max(free, sequences.shortest), sequences.longest)
    for tensor in model.manifest.inputs:
        shape = (rows, *(free if extent == -1 else extent for extent in tensor.shape[1:]))
        if tensor.datatype == "BYTES":
            blanks[tensor.name] = np.full(shape, "", object)
        else:
            blanks[tensor.name] = np.zeros(shape, DTYPES[tensor.datatype])
    if sequences is not None:
        blanks[sequences.length] = np.full(rows, free, np.int64)
    return blanks


@lru_cache(maxsize=1)
def check_runtime() -> None:
    """Refuse the two ONNX Runtime wheels together: they overwrite each other's files.

    Raises:
        Unavailable: both `onnxruntime` and `onnxruntime-gpu` are installed.
    """
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    if {"onnxruntime", "onnxruntime-gpu"} <= installed:
        raise Unavailable(
            "both onnxruntime and onnxruntime-gpu are installed, and each has overwritten files "
            "of the other. Uninstall both, then install glassline[cpu] or glassline[gpu]."
        )
