"""The gate that a translator passes: its graphs answer as the trained network does.

Both graphs are compared at lengths and beam widths that their export never saw, and greedy
decoding has to write the very same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from models.seq2seq import END, PAD, EncoderGraph, Seq2Seq, StepGraph
from service.errors import ReleaseRefused
from service.inference.translator import Translator
from service.manifest import Parity
from service.tasks.beam import search
from service.tasks.translate import Asked
from training.lessons import one_thread
from training.parity import ALLOWED

Arrays = Mapping[str, NDArray[Any]]
#: Rows of a batch of texts, and hypotheses a text when the step is compared: what the export saw
#: are 2 rows. They go round, so that every length meets several.
_ROWS, _WIDTHS = (1, 3, 8, 17), (1, 3, 5, 8)


def check(
    name: str,
    network: Seq2Seq,
    translator: Translator,
    encoder: Path,
    step: Path,
    texts: Sequence[str],
) -> Parity:
    """Compare network and graphs on every text.

    Probabilities may differ by 1e-5, numbers that go from one graph to the other by as much of
    the largest of them, or of 1.

    Args:
        name: of the model, for messages.
        network: in FP32.
        translator: made of the graphs.
        encoder, step: the graphs.
        texts: of the test part.

    Returns:
        How far probabilities of tokens are off, or the other numbers as said, whichever is
        further; how many texts were written differently.

    Raises:
        ReleaseRefused: by more than 1e-5, or a text was written differently.
    """
    network = network.eval().cpu()
    graphs = _Graphs(network, encoder, step)
    rows, widths = cycle(_ROWS), cycle(_WIDTHS)
    numbered = [[*translator.subwords.encode(text), END] for text in texts]
    differing: list[int] = []
    start = 0
    with torch.inference_mode(), one_thread():
        while start < len(numbered):
            block = numbered[start : start + next(rows)]
            wanted = graphs.compare(block, next(widths), translator.longest_answer)
            got = _greedy(translator, texts[start : start + len(block)])
            differing += [start + at for at, one in enumerate(wanted) if one != got[at]]
            start += len(block)
    tolerance = ALLOWED["fp32"].difference
    if not graphs.furthest <= tolerance:
        _refuse(name, f"'{graphs.where}' is {graphs.furthest:.3g} off, allowed is {tolerance:g}")
    if differing:
        _refuse(
            name,
            f"{len(differing)} of {len(texts)} test rows are written differently (rows "
            f"{', '.join(map(str, differing[:10]))})",
        )
    return Parity(
        rows=len(texts),
        max_abs_difference=graphs.furthest,
        label_flips=len(differing),
        tolerance=tolerance,
    )


class _Graphs:
    """Network and graphs side by side; remembers how far they were apart at most."""

    def __init__(self, network: Seq2Seq, encoder: Path, step: Path) -> None:
        self._modules = {"encode": EncoderGraph(network), "step": StepGraph(network)}
        self._sessions = {"encode": _session(encoder), "step": _session(step)}
        self.furthest = 0.0
        self.where = ""

    def compare(self, tokens: Sequence[Sequence[int]], width: int, longest: int) -> list[list[int]]:
        """Hold both graphs against the network along its greedy translation of some texts.

        Returns:
            The tokens that the network writes.
        """
        length = np.array([len(one) for one in tokens], np.int64)
        padded = np.full((len(tokens), int(length.max())), PAD, np.int64)
        for row, one in enumerate(tokens):
            padded[row, : len(one)] = one
        read = self._both("encode", {"tokens": padded, "length": length}, length)
        decoder = _Stepping(self, read, length, width)
        found = search(decoder, len(tokens), 1, 0.0, longest)
        return [one[0].tokens for one in found]

    def _both(self, role: str, inputs: Arrays, length: NDArray[np.int64]) -> Arrays:
        """The network's answer; how far the graph's is from it is noted."""
        session = self._sessions[role]
        names = [one.name for one in session.get_outputs()]
        got = dict(zip(names, session.run(names, dict(inputs)), strict=True))
        answer = self._modules[role](*(torch.from_numpy(one) for one in inputs.values()))
        wanted = {name: one.numpy() for name, one in zip(names, answer, strict=True)}
        for name, value in wanted.items():
            self._note(f"{role}: {name}", got[name], value, length)
        return wanted

    def _note(
        self, where: str, got: NDArray[Any], wanted: NDArray[Any], length: NDArray[np.int64]
    ) -> None:
        if got.shape != wanted.shape:
            self.furthest, self.where = np.inf, f"{where}, shape {got.shape} for {wanted.shape}"
            return
        if where.endswith("log_probabilities"):
            got, wanted = np.exp(got), np.exp(wanted)
        if wanted.ndim == 3:  # behind a text's end nothing is of meaning
            real = np.arange(wanted.shape[1]) < length[:, None]
            got, wanted = got[real], wanted[real]
        magnitude = max(1.0, float(np.abs(wanted).max(initial=0)))
        apart = float(np.abs(got.astype(np.float64) - wanted).max(initial=0)) / magnitude
        if not apart <= self.furthest:  # a NaN is no small difference
            self.furthest, self.where = apart, where


class _Stepping:
    """The network's decoder, which the step graph follows with so many hypotheses a text."""

    def __init__(
        self, graphs: _Graphs, read: Arrays, length: NDArray[np.int64], width: int
    ) -> None:
        self._graphs, self._read, self._length, self._width = graphs, read, length, width
        self.first_state: NDArray[np.float32] = read["state"]
        #: tokens after the last step, the best first, of the rows that it was made for
        self._rows: NDArray[np.intp] = np.arange(0)
        self._ranked: NDArray[np.intp] | None = None

    def step(
        self, token: NDArray[np.int64], state: NDArray[np.float32], row: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """See `beam.Stepper.step`; all but the first hypothesis of a text only fill the batch.

        They go on with the next best tokens, as the hypotheses of a beam do.
        """
        many = np.repeat(row, self._width)
        others = np.repeat(token, self._width)
        if self._ranked is not None:
            ranked = self._ranked[np.isin(self._rows, row)]
            others = np.where(np.arange(len(others)) % self._width > 0, ranked.ravel(), others)
        inputs: Arrays = {
            "token": others, "state": np.repeat(state, self._width, axis=0),
            "memory": self._read["memory"][many], "keys": self._read["keys"][many],
            "length": self._length[many],
        }  # fmt: skip
        made = self._graphs._both("step", inputs, self._length[many])
        firsts = slice(None, None, self._width)
        best = np.argsort(-made["log_probabilities"][firsts], axis=1, kind="stable")
        self._rows, self._ranked = row, best[:, : self._width]
        return (
            made["log_probabilities"][firsts].copy(),
            made["next_state"][firsts],
            made["attention"][firsts],
        )


def _greedy(translator: Translator, texts: Sequence[str]) -> list[list[int]]:
    some = np.array(texts, dtype=object)
    answer = translator.run({translator.input: some, **Asked(beam_width=1).columns(len(some))})
    return [[one for one in row.tolist() if one != PAD] for row in answer["token_numbers"][:, 0]]


def _session(graph: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _refuse(name: str, what: str) -> NoReturn:
    raise ReleaseRefused(
        f"{name}: {what}. Nothing was stored. Look for layers that behave differently when "
        "exported (dropout, data-dependent shapes), mend the network, release again."
    )
