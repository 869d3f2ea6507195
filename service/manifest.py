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

from service import kinds
from service.calibration import Adaptive, Budget, Calibration, EventBudget, Gallery, RateBudget
from service.kinds import ROLES, Task
from service.measured import Compression, Interval, Parity, Randomisation
from service.media import ImageMedia, Part, SequenceMedia, SubwordMedia, TextMedia
from service.policy import Policy
from service.tensors import Datatype, Graph, Sha256, Tensor

__all__ = [
    "Adaptive", "Budget", "Calibration", "Compression", "Datatype", "EventBudget", "Evidence",
    "ExplainerDefaults", "Gallery", "Graph", "ImageMedia", "Interval", "Manifest", "ModelName",
    "ModelVersion", "Parity", "Policy", "Precision", "Provenance", "ROLES", "Randomisation",
    "RateBudget", "SequenceMedia", "Sha256", "SubwordMedia", "Task", "Tensor", "TextMedia",
    "elements",
]  # fmt: skip

#: What a graph computes in.
Precision = Literal["fp32", "fp16", "int8"]
#: BentoML tags allow exactly this, and so do URLs without escaping.
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
ModelVersion = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]


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
    "calibration": None,
    "gallery": None,
    "policy": None,
}


class Manifest(Part):
    """One released model version. See the field types for units and ranges.

    The first output is what explanations explain and people look at: of `classify` the class
    probabilities (n, labels), of `regress` the values (n, k), their names in `features`, of
    `anomaly` the score (n, 1), higher = more anomalous, of `embed` the vector (n, d). `kinds`
    says what else each task has.
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
    calibration: Calibration | None = None
    gallery: Gallery | None = None
    #: what a policy's numbers mean; of models that act
    policy: Policy | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parity: Parity
    provenance: Provenance
    card: str = ""

    @model_validator(mode="after")
    def _parts_agree(self) -> Manifest:
        names = [t.name for t in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise ValueError(f"tensor names must differ, got {names}")
        for tensor in (*self.inputs, *self.outputs):
            tensor.check()
        if self.media is not None:
            self.media.check(self.inputs, self.assets)
        if unknown := set(self.evidence) - {t.name for t in self.outputs}:
            raise ValueError(f"evidence names {sorted(unknown)}, which are no outputs")
        if self.interval and not {self.interval.lower, self.interval.upper} <= set(names):
            raise ValueError(f"interval names outputs that are not there; there are {names}")
        kinds.check(self)
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
    def on_request(self) -> frozenset[str]:
        """Outputs as large as the input: sent to whoever names them, recorded by their digests."""
        return kinds.LARGE if self.task == "anomaly" else frozenset()

    @property
    def alone(self) -> bool:
        """Whether the first input is all that has to be sent."""
        return len(self.inputs) == 1 or self.policy is not None or self.sequences is not None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what the first output holds, one a column; none where nobody named them."""
        return self.labels or self.outputs[0].features or ()

    @property
    def reference(self) -> str:
        """`name@version`, the way people and records name a model."""
        return f"{self.name}@{self.version}"


def elements(shape: tuple[int, ...]) -> int:
    """Number of elements of a concrete shape; 1 for a scalar."""
    return math.prod(shape)
