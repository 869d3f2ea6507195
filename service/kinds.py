"""What each kind of answer demands of a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from service.media import SubwordMedia

if TYPE_CHECKING:
    from service.manifest import Manifest

#: Kinds of answer; `service/tasks/` has one file each.
Task = Literal["classify", "regress", "anomaly", "embed", "translate", "generate", "act"]
#: Roles of the graphs that a task runs; a release has exactly these.
ROLES: dict[Task, frozenset[str]] = {
    "classify": frozenset({"predict"}),
    "regress": frozenset({"predict"}),
    "anomaly": frozenset({"predict"}),
    "embed": frozenset({"predict"}),
    "translate": frozenset({"encode", "step"}),
    "generate": frozenset({"predict"}),
    "act": frozenset({"predict"}),
}
#: Outputs of a detector that are as large as its input.
LARGE = frozenset({"error", "reconstruction"})


def check(manifest: Manifest) -> None:
    """Refuse parts that do not fit the manifest's task, with ValueError."""
    if set(manifest.graphs) != ROLES[manifest.task]:
        wanted = " and ".join(f"'{role}'" for role in sorted(ROLES[manifest.task]))
        raise ValueError(
            f"graphs of a model that can {manifest.task} have the role {wanted}, "
            f"got {sorted(manifest.graphs)}"
        )
    if (manifest.task == "translate") != isinstance(manifest.media, SubwordMedia):
        raise ValueError("media of the kind 'subwords' belongs to the task 'translate' alone")
    if (manifest.task == "anomaly") != (manifest.calibration is not None):
        raise ValueError("a calibration belongs to the task 'anomaly' alone, which has one")
    if (manifest.task == "act") != (manifest.policy is not None):
        raise ValueError("a policy belongs to the task 'act' alone, which has one")
    if manifest.policy is not None:
        manifest.policy.check(manifest.inputs, manifest.outputs)
    if manifest.task == "classify":
        _classes(manifest)
    elif manifest.task == "anomaly":
        _anomaly(manifest)
    elif manifest.task == "embed":
        _vector(manifest, manifest.outputs[0].name)
    elif manifest.task == "generate":
        _noise(manifest)
    if manifest.gallery is not None:
        _gallery(manifest)


def _classes(manifest: Manifest) -> None:
    classes = manifest.outputs[0].shape[-1]
    if classes != len(manifest.labels):
        raise ValueError(
            f"output '{manifest.outputs[0].name}' has {classes} classes, "
            f"but there are {len(manifest.labels)} labels"
        )


def _anomaly(manifest: Manifest) -> None:
    first = manifest.outputs[0]
    if (first.name, first.datatype, first.shape) != ("score", "FP32", (-1, 1)) or (
        first.features != ("score",)
    ):
        raise ValueError(
            "the first output of a model that finds anomalies is 'score', FP32 (-1, 1), of the "
            f"feature 'score', got '{first.name}', {first.datatype} {first.shape}"
        )
    error = next((tensor for tensor in manifest.outputs if tensor.name == "error"), None)
    if error is None or manifest.evidence.get("error") != "reconstruction-error":
        raise ValueError("a model that finds anomalies has the output 'error', which is evidence "
                         "of the kind 'reconstruction-error'")  # fmt: skip
    shape = manifest.inputs[0].shape
    wanted = (-1, *shape[2:]) if manifest.images is not None else shape
    if error.datatype != "FP32" or error.shape != wanted:
        raise ValueError(
            f"output 'error' is {error.datatype} {error.shape}, wanted FP32 {wanted}: a value for "
            f"each place of input '{manifest.inputs[0].name}'"
        )
    calibration = manifest.calibration
    if calibration is not None and calibration.scores not in manifest.assets:
        raise ValueError(f"the calibration needs the asset '{calibration.scores}', its scores")


def _noise(manifest: Manifest) -> None:
    noise, *others = manifest.inputs
    if (noise.name, noise.datatype) != ("noise", "FP32") or (
        len(noise.shape) != 2 or noise.shape[1] < 1
    ):
        raise ValueError(
            "the first input of a model that generates is 'noise', FP32 (-1, z), got "
            f"'{noise.name}', {noise.datatype} {noise.shape}"
        )
    told = [("label", "INT64", (-1,))] if manifest.labels else []
    if [(one.name, one.datatype, one.shape) for one in others] != told:
        raise ValueError(
            "a model that generates takes 'label', INT64 (-1,), beside its noise where it has "
            f"labels, and nothing else, got {[one.name for one in others]}"
        )
    if manifest.explainer is not None:
        raise ValueError("what is generated from noise cannot be explained: no explainer")


def _gallery(manifest: Manifest) -> None:
    gallery = manifest.gallery
    assert gallery is not None  # whoever calls has looked
    if missing := sorted(
        {gallery.vectors, gallery.ids, gallery.index or gallery.ids} - set(manifest.assets)
    ):
        raise ValueError(f"the gallery needs the assets {missing}")
    if (got := _vector(manifest, gallery.output)) != gallery.dimension:
        raise ValueError(
            f"the gallery has vectors of {gallery.dimension} values, but output "
            f"'{gallery.output}' has {got}"
        )
    made = manifest.graphs["predict"].sha256
    if gallery.graph != made:
        raise ValueError(
            f"the gallery was made by the graph {gallery.graph[:12]}, but this model's is "
            f"{made[:12]}: vectors of two graphs cannot be compared"
        )


def _vector(manifest: Manifest, name: str) -> int:
    """How many values a vector output has."""
    tensor = next((one for one in manifest.outputs if one.name == name), None)
    if tensor is None or tensor.datatype != "FP32" or len(tensor.shape) != 2 or tensor.shape[1] < 1:
        raise ValueError(f"'{name}' is no output of vectors, FP32 (-1, d)")
    return tensor.shape[1]
