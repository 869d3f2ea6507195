"""What explanations of every modality have in common: the row, the scores, the identity."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from service.audit.arrays import raw_bytes
from service.errors import ExplanationError, InvalidParameter
from service.explain.evidence import NativeEvidence, native_evidence
from service.explain.explanation import ImageExplanation
from service.explain.feature_explanation import FeatureExplanation
from service.explain.parameters import ExplainParameters, target_index
from service.explain.trust import faithfulness, stability
from service.manifest import Manifest
from service.store import StoredModel

Progress = Callable[[int, int], None]
Explanation = ImageExplanation | FeatureExplanation
#: Perturbed inputs that go to the graph together: enough to keep it busy, and no more than
#: keeps its activations, some fifty times the inputs, within a few hundred megabytes.
_BATCH_BYTES = 2 * 1024 * 1024
#: What hides features: masks (n, features), 1 = shown, to scores (n, K).
Hide = Callable[[NDArray[np.int64]], NDArray[np.floating[Any]]]


class ExplainedModel(Protocol):
    """What an explanation needs of a model."""

    @property
    def stored(self) -> StoredModel:
        """Its files."""

    @property
    def manifest(self) -> Manifest:
        """The contract it was released with."""

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name, batch on axis 0."""


class InputExplainer(ABC):
    """Explains one row of a prediction.

    Args:
        model: whose manifest declares an explainer of this modality.
        inputs: the prediction's inputs by name, batch on axis 0.
        row: which row.
        parameters: what was asked for; the model's defaults fill the rest.

    Raises:
        InvalidParameter: a value is outside its range, or means nothing here.
        ExplanationError: the model's inputs are not of this modality.
    """

    modality: ClassVar[str]
    #: parameters that mean something here, besides those that always do
    own: ClassVar[frozenset[str]]
    methods: ClassVar[tuple[str, ...]] = ("lime",)

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        defaults = model.manifest.explainer
        assert defaults is not None
        parameters.refuse_others(self.modality, self.own)
        if parameters.method not in (None, *self.methods):
            raise InvalidParameter(
                f"explain parameters: method: got {parameters.method!r}, but this is an "
                f"explanation of a {self.modality}. Known here: {', '.join(self.methods)}."
            )
        self.model = model
        self.parameters = parameters
        self.num_samples = parameters.num_samples or defaults.num_samples
        self.defaults = defaults
        self._row = {name: batch[row : row + 1] for name, batch in inputs.items()}
        self._output, self.labels = self._explained()
        self.target = target_index(parameters.target, self.labels)

    def _explained(self) -> tuple[str, tuple[str, ...]]:
        """Name of the output that is explained, and of its columns.

        Raises:
            InvalidParameter: what was asked for is no output that can be explained.
        """
        return _explained_output(self.model, self.parameters.output)

    @property
    def asked(self) -> dict[str, Any]:
        """What every engine is asked, by the names of its configuration."""
        return {
            "num_samples": self.num_samples,
            "target": self.target,
            "seed": self.parameters.seed,
            "labels": self.labels,
        }

    @property
    def row(self) -> Mapping[str, NDArray[Any]]:
        """The prediction's inputs, this row alone: batches of one."""
        return self._row

    @property
    @abstractmethod
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """What is explained, by the name under which the record keeps it; no batch axis."""

    @property
    @abstractmethod
    def config(self) -> Any:
        """What decides about the explanation besides the input and the model."""

    @abstractmethod
    def one(self, config: Any, progress: Progress | None, deadline: float) -> Explanation:
        """One explanation of the subject.

        Args:
            config: as `config`, or with another seed and target.
            progress: as of `explain`, of this one alone.
            deadline: as of `explain`.
        """

    @abstractmethod
    def hider(self, found: Explanation) -> Hide:
        """What scores the subject with features of an explanation hidden."""

    def explain(self, progress: Progress | None, deadline: float) -> Explanation:
        """The explanation, with the quality that was asked for besides.

        Args:
            progress: told (samples done, samples in all); what it raises passes through.
            deadline: `time.monotonic()` by which it must stand.

        Raises:
            ExplanationError, InvalidParameter, DeadlineExceeded: see the modality's engine.
        """
        asked, config = self.parameters, self.config

        def numbered(config: Any, number: int) -> Explanation:
            return self.one(config, repeated(progress, number, asked.repeats), deadline)

        found = numbered(config, 0)
        quality, first = found.quality, found.of()
        if asked.faithfulness:
            deletion, insertion = faithfulness(first, found.feature_count, self.hider(found))
            quality = replace(quality, deletion_auc=deletion, insertion_auc=insertion)
        if asked.repeats:
            again = [
                numbered(
                    replace(
                        config,
                        seed=(found.seed + number) % 2**32,
                        target=first.label,
                        top_labels=1,
                    ),
                    number,
                )
                for number in range(1, asked.repeats + 1)
            ]
            vsi, csi = stability([first, *(one.of() for one in again)])
            quality = replace(quality, repeats=asked.repeats, vsi=vsi, csi=csi)
        return replace(found, quality=quality)

    @property
    def key(self) -> str:
        """The same for explanations that would be the same bit for bit."""
        asked = self.parameters
        digest = hashlib.sha256(
            f"{self.model.manifest.digest}\n{self._output}\n{self.config!r}\n"
            f"{asked.faithfulness} {asked.repeats}\n".encode()
        )
        for name, array in self._row.items():
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(raw_bytes(array))
        return digest.hexdigest()

    def scores(self, name: str, batch: NDArray[Any]) -> NDArray[np.floating[Any]]:
        """(n, K) scores of n inputs that differ from the row in the tensor `name` alone."""
        feed = {
            other: batch if other == name else np.repeat(one, len(batch), axis=0)
            for other, one in self._row.items()
        }
        return self.model.predict(feed)[self._output].reshape(len(batch), -1)

    def evidence(self) -> tuple[NativeEvidence, ...]:
        """What the model itself shows of its answer for this row.

        Raises:
            ExplanationError: an output is not what the manifest declares.
        """
        kinds = self.model.manifest.evidence
        return native_evidence(kinds, self.model.predict(self._row)) if kinds else ()

    def only(self, kind: str, wanted: str, dimensions: int) -> str:
        """Name of the first input, which must be of this dtype kind and number of axes.

        Raises:
            ExplanationError: it is not.
        """
        name = self.model.manifest.inputs[0].name
        batch = self._row[name]
        if batch.dtype.kind not in kind or batch.ndim != dimensions:
            raise ExplanationError(
                f"{self.model.manifest.reference}: its manifest declares a {self.modality} "
                f"explainer, but input '{name}' is {batch.dtype} with {batch.ndim} axes, wanted "
                f"{wanted}. Release it with the explainer of its modality."
            )
        return name


def batch_size(bytes_each: int, smallest: int, largest: int) -> int:
    """Perturbed inputs of so many bytes that go to the graph together."""
    return min(largest, max(smallest, _BATCH_BYTES // max(1, bytes_each)))


def repeated(progress: Progress | None, number: int, repeats: int) -> Progress | None:
    """Progress of one of `repeats` explanations, the first being number 0, told as of all."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, (repeats + 1) * total)


def _explained_output(model: ExplainedModel, asked: str | None) -> tuple[str, tuple[str, ...]]:
    """Name of the output to explain, and of its columns."""
    outputs = {tensor.name: tensor for tensor in model.manifest.outputs}
    first = model.manifest.outputs[0]
    if asked is None or asked == first.name:
        return first.name, model.manifest.targets
    if asked not in outputs or not outputs[asked].datatype.startswith("FP"):
        held = ", ".join(name for name, one in outputs.items() if one.datatype.startswith("FP"))
        raise InvalidParameter(
            f"explain parameters: output: got {asked!r:.80}, wanted one of the model's outputs "
            f"that hold scores: {held}."
        )
    return asked, outputs[asked].features or ()
