"""torchvision and lightning, imported so that every pair of wheels works.

Lightning imports torchvision through torchmetrics, so both are taken from here.
"""

from __future__ import annotations

from typing import Any

import torch


def _declare_missing_operators() -> Any:
    """Make a CUDA build of torchvision importable beside a CPU build of torch.

    Its compiled operators cannot be loaded there, but its Python code registers shapes for
    two of them all the same and fails. Declaring these two is enough: models and transforms
    do not call them.
    """
    try:
        import torchvision  # noqa: F401 - the import is the question
    except RuntimeError as error:
        if torch.version.cuda is not None or "torchvision::nms does not exist" not in str(error):
            raise
    else:
        return None
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "qnms(Tensor dets, Tensor dets_scale, Tensor dets_zero_point, Tensor scores, "
        "float iou_threshold) -> Tensor"
    )
    return library


# The operators live as long as this object.
_operators = _declare_missing_operators()

import lightning  # noqa: E402
import torchvision  # noqa: E402

__all__ = ["lightning", "torchvision"]
