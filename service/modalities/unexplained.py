"""What is never explained: apart from the explainers, so that who only predicts loads none."""

from __future__ import annotations

from service.errors import ExplanationError
from service.manifest import Manifest


def refuse_unexplained(manifest: Manifest) -> None:
    """Refuse what no explanation says anything about.

    Raises:
        ExplanationError: it is generated from noise, no number of which speaks for anything.
    """
    if manifest.task == "generate":
        raise ExplanationError(
            f"{manifest.reference}: got a request to explain what was generated, wanted an answer "
            "about an input: noise has no parts that speak for or against anything. Send what was "
            "generated to a classifier, and have that explained."
        )
