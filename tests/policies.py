"""A policy of two features and three actions, built by hand in a moment."""

from __future__ import annotations

from service.manifest import Graph, Manifest
from service.policy import Policy, StateFeature
from tests.unmeasured import PARITY, PROVENANCE
from training.policy_tensors import inputs_of, outputs_of

POLICY = Policy(
    environment="Small-v0",
    features=(
        StateFeature(name="wear", unit="level", low=0, high=10, trained_low=0, trained_high=10),
        StateFeature(name="heat", unit="°C", trained_low=20, trained_high=80),
    ),
    actions=("run", "stop", "wait"),
    default="stop",
    preference="q-value",
)


def manifest_of(policy: Policy = POLICY) -> Manifest:
    """The manifest of a model with this policy; its graph is nowhere."""
    return Manifest(
        name="small-policy",
        version="1",
        family="policy",
        task="act",
        graphs={"predict": Graph(file="predict.onnx", sha256="0" * 64)},
        inputs=inputs_of(policy),
        outputs=outputs_of(policy),
        policy=policy,
        parity=PARITY,
        provenance=PROVENANCE,
    )
