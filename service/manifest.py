"""The manifest: the one contract between training and serving.

Training writes it beside the ONNX graphs; the service reads nothing else about a
model. It is canonical JSON (RFC 8785), so that equal manifests have equal digests.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal

import rfc8785
from pydantic import Field, JsonValue, model_validator

from service.media import ImageMedia, Part, SequenceMedia, SubwordMedia, TextMedia

__all__ = [
    "Compression", "Datatype", "Evidence", "ExplainerDefaults", "Graph", "ImageMedia", "Interval",
    "Manifest", "ModelName", "ModelVersion", "Parity", "Precision", "Provenance", "ROLES",
    "Randomisation", "SequenceMedia", "Sha256", "SubwordMedia", "Task", "Tensor", "TextMedia",
    "elements",
]  # fmt: skip

#: Open Inference Protocol v2 datatypes that a model tensor may have.
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip

#: Kinds of answer; `service/tasks/` has one file each.
Task = Literal["classify", "regress", "translate"]
#: Roles of the graphs that a task runs; a release has exactly these.
ROLES: dict[Task, frozenset[str]] = {
    "classify": frozenset({"predict"}),
    "regress": frozenset({"predict"}),
    "translate": frozenset({"encode", "step"}),
}
#: What a graph computes in.
Precision = Literal["fp32", "fp16", "int8"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: BentoML tags allow exactly this, and so do URLs without escaping.
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
ModelVersion = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]


class Tensor(Part):
    """One named input or output.

    `shape` counts the batch as axis 0; -1 is a free extent. `range` is inclusive, in `unit`.
    `features` names the last axis, one name an element.
    """

    name: str = Field(min_length=1)
    datatype: Datatype
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(min_length=1)
    unit: str | None = None
    range: tuple[float, float] | None = None
    features: tuple[str, ...] | None = None


class Graph(Part):
    """An ONNX file in the model folder, by role; `ROLES` says which a task has."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    sha256: Sha256


class ExplainerDefaults(Part):
    """What an explanation uses where the request does not say.

    Statistics of the training data that tables, and sequences explained step by step, are
    perturbed with are the asset of the role `background`.
    """

    modality: Literal["image", "table", "text", "sequence"]
    segmentation: str = "auto"
    num_samples: int = Field(default=1000, ge=10)
    num_features: int = Field(default=10, ge=1)


class Provenance(Part):
    """Everything it takes to train the model again."""

    script: str
    config: dict[str, JsonValue]
    seed: int
    git_revision: str
    trained_at: str
    seconds: float = Field(ge=0)
    data: dict[str, JsonValue]
    libraries: dict[str, str]
    environment: dict[str, JsonValue]


class Parity(Part):
    """How far the exported graph was from the trained module, over `rows` test rows."""

    rows: int = Field(gt=0)
    max_abs_difference: float = Field(ge=0)
    label_flips: int = Field(ge=0)
    tolerance: float = Field(gt=0)


class Randomisation(Part):
    """Whether explanations hang on what the network has learnt.

    Inputs were explained by the trained network and by the same network with random weights;
    `similarity` is the mean rank correlation of the absolute weights, -1 to 1. Near 1 the
    explanations show the input and not the model.
    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """

    inputs: int = Field(gt=0)
    num_samples: int = Field(gt=0)
    seed: int = Field(ge=0)
    similarity: float = Field(ge=-1, le=1)
    passed: bool


class Compression(Part):
    """What a graph in a smaller precision costs and gains beside the same network's in FP32.

    Bytes are those of the files. Rows a second are measured one after the other on one thread of
    one processor, in batches of `batch`. `score` is the metric of that name of each on the same
    test rows.
    """

    metric: str
    score: float
    fp32_score: float
    bytes: int = Field(gt=0)
    fp32_bytes: int = Field(gt=0)
    batch: int = Field(gt=0)
    rows_per_second: float = Field(gt=0)
    fp32_rows_per_second: float = Field(gt=0)


class Interval(Part):
    """Two outputs between which the truth lies at a stated rate.

    They were calibrated on `units` units (engines, runs, rows) that training never saw, each of
    which counts as one whatever its length. Of units exchangeable with those the share of truths
    inside is `level`, on average; with few units it may be off, and the test part's figure says by
    how much it was.
    Source: Lei et al. 2018, arXiv:1604.04173 (split conformal); Dunn, Wasserman and Ramdas 2022,
    arXiv:1809.07441 (units of several rows).
    """

    lower: str
    upper: str
    level: float = Field(gt=0, lt=1)
    method: Literal["split-conformal"] = "split-conformal"
    units: int = Field(gt=0)
    #: half the width on average, by column of the first output, in its unit
    margins: tuple[float, ...]


#: What an output shows besides the answer, in the input's own terms.
Evidence = Literal["reconstruction-error", "attention"]

#: Fields that came later, by their defaults: not written where they hold these, so that
#: manifests older than a field keep their digests.
_LATER: dict[str, JsonValue] = {
    "precision": "fp32",
    "evidence": {},
    "randomisation": None,
    "compression": None,
    "interval": None,
}


class Manifest(Part):
    """One released model version. See the field types for units and ranges.

    The first output is what explanations explain and people look at: of `classify` the class
    probabilities (n, labels), of `regress` the values (n, k), their names in `features`.
    """

    schema_version: Literal["glassline.manifest/1"] = "glassline.manifest/1"
    name: ModelName
    version: ModelVersion
    family: str
    task: Task
    graphs: dict[str, Graph] = Field(min_length=1)
    #: of the weights and the arithmetic in the graphs; tensors outside are as declared
    precision: Precision = "fp32"
    assets: dict[str, Graph] = Field(default_factory=dict)
    inputs: tuple[Tensor, ...] = Field(min_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    media: (
        Annotated[
            ImageMedia | TextMedia | SequenceMedia | SubwordMedia, Field(discriminator="kind")
        ]
        | None
    ) = None
    explainer: ExplainerDefaults | None = None
    #: outputs that are evidence for the answer, by name
    evidence: dict[str, Evidence] = Field(default_factory=dict)
    randomisation: Randomisation | None = None
    compression: Compression | None = None
    interval: Interval | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parity: Parity
    provenance: Provenance
    card: str = ""

    @model_validator(mode="after")
    def _parts_agree(self) -> Manifest:
        names = [t.name for t in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise ValueError(f"tensor names must differ, got {names}")
        if set(self.graphs) != ROLES[self.task]:
            wanted = " and ".join(f"'{role}'" for role in sorted(ROLES[self.task]))
            raise ValueError(
                f"graphs of a model that can {self.task} have the role {wanted}, "
                f"got {sorted(self.graphs)}"
            )
        for tensor in (*self.inputs, *self.outputs):
            _features_fit(tensor)
        if self.media is not None:
            self.media.check(self.inputs, self.assets)
        if (self.task == "translate") != isinstance(self.media, SubwordMedia):
            raise ValueError("media of the kind 'subwords' belongs to the task 'translate' alone")
        if unknown := set(self.evidence) - {t.name for t in self.outputs}:
            raise ValueError(f"evidence names {sorted(unknown)}, which are no outputs")
        if self.interval and not {self.interval.lower, self.interval.upper} <= set(names):
            raise ValueError(f"interval names outputs that are not there; there are {names}")
        if self.task == "classify":
            classes = self.outputs[0].shape[-1]
            if classes != len(self.labels):
                raise ValueError(
                    f"output '{self.outputs[0].name}' has {classes} classes, "
                    f"but there are {len(self.labels)} labels"
                )
        return self

    def canonical(self) -> bytes:
        """Canonical JSON of this manifest (RFC 8785)."""
        content = self.model_dump(mode="json")
        for field, default in _LATER.items():
            if content[field] == default:
                del content[field]
        return rfc8785.dumps(content)

    @property
    def digest(self) -> str:
        """SHA-256 of `canonical()`, lower-case hex."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @property
    def images(self) -> ImageMedia | None:
        """How pictures are decoded; None where the model takes none."""
        return self.media if isinstance(self.media, ImageMedia) else None

    @property
    def sequences(self) -> SequenceMedia | None:
        """What its windows may be; None where the model takes none of any length."""
        return self.media if isinstance(self.media, SequenceMedia) else None

    @property
    def subwords(self) -> SubwordMedia | None:
        """How texts are cut and put together again; None where nothing is translated."""
        return self.media if isinstance(self.media, SubwordMedia) else None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what the first output holds, one a column; none where nobody named them."""
        return self.labels or self.outputs[0].features or ()

    @property
    def reference(self) -> str:
        """`name@version`, the way people and records name a model."""
        return f"{self.name}@{self.version}"


def _features_fit(tensor: Tensor) -> None:
    """Columns of a table are found by these names."""
    names, extent = tensor.features, tensor.shape[-1]
    if names is None:
        return
    if len(tensor.shape) > 1 and extent >= 0 and len(names) != extent:
        raise ValueError(f"tensor '{tensor.name}' has {len(names)} features, but {extent} columns")
    if len(set(names)) != len(names):
        raise ValueError(f"features of tensor '{tensor.name}' must differ, got {names}")


def elements(shape: tuple[int, ...]) -> int:
    """Number of elements of a concrete shape; 1 for a scalar."""
    return math.prod(shape)
