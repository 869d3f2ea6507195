"""What a manifest demands of a request's tensors, compiled once for each model.

Both codecs check against it before a single array is made, so that nobody in a batch
pays for a neighbour's mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch, TooLarge
from service.manifest import Manifest, Tensor
from service.policy import LEGAL, NOISE
from service.protocol.datatypes import BINARY_ONLY, DTYPES
from service.protocol.metadata import task_outputs
from service.protocol.request import InferRequest

#: Signatures kept; a server holds few models at a time, and each entry pins its manifest.
_KEPT: Final = 256
#: Headers known again for each model, and the length in bytes beyond which none is.
_FORMS: Final = 64
_LONGEST_FORM: Final = 4096
#: Names that an error message lists.
_LISTED: Final = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """One input tensor's demands. `range` is None where the dtype implies it."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    range: tuple[float, float] | None
    floating: bool
    where: str
    remedy: str
    #: names of the last axis, by which a caller may order it
    features: tuple[str, ...] = ()
    #: whether a value may be missing: NaN, or null in JSON
    gaps: bool = False
    #: whether it may be left out; the model then knows what it is
    optional: bool = False

    def refuse(self, got: str, wanted: str, remedy: str = "") -> NoReturn:
        """Raise TensorMismatch: where, got, wanted, remedy."""
        raise TensorMismatch(f"{self.where} {got}, wanted {wanted}. {remedy or self.remedy}")

    def concrete(self, shape: Any, max_rows: int) -> tuple[int, ...]:
        """A request's shape, checked against the declared one. Nothing is allocated.

        Args:
            shape: whatever JSON gave.
            max_rows: largest extent of axis 0.

        Raises:
            TensorMismatch: not a list of integers, or it does not fit.
            TooLarge: more than `max_rows` rows.
        """
        declared = self.shape
        if type(shape) is not list or len(shape) != len(declared):
            self._refuse_shape(shape)
        for got, wanted in zip(shape, declared, strict=True):
            if type(got) is not int or (got < 1 if wanted < 0 else got != wanted):
                self._refuse_shape(shape)
        if shape[0] > max_rows:
            raise TooLarge(
                f"{self.where} has {shape[0]} rows, at most {max_rows} are accepted. "
                "Send smaller batches, or raise GLASSLINE_MAX_BATCH_ROWS."
            )
        return tuple(shape)

    def _refuse_shape(self, shape: Any) -> NoReturn:
        wanted = ", ".join("any" if extent < 0 else str(extent) for extent in self.shape)
        self.refuse(
            f"has shape {shown(shape)}",
            f"a list of integers that fits ({wanted}), every 'any' at least 1",
            f"Send one item per row on axis 0. {self.remedy}",
        )

    def order_of(self, given: Sequence[Any]) -> list[int]:
        """Where each element of the last axis stands among the names that a caller gave.

        Args:
            given: names of the last axis as it was sent; whatever JSON gave.

        Raises:
            TensorMismatch: they are not the manifest's, each once, in any order.
        """
        wanted = f"each of {listed(self.features)} once, in any order"
        if not self.features:
            self.refuse(f"has features {shown(given)}", "none: the manifest names no features")
        if type(given) is not list or not all(type(name) is str for name in given):
            self.refuse(f"has features {shown(given)}", wanted)
        if missing := [name for name in self.features if name not in given]:
            self.refuse(f"lacks the features {listed(missing)}", wanted)
        if unknown := [name for name in given if name not in self.features]:
            self.refuse(f"has unknown features {listed(unknown)}", wanted)
        if len(given) != len(self.features):
            twice = sorted({name for name in given if given.count(name) > 1})
            self.refuse(f"has the features {listed(twice)} twice", wanted)
        return [given.index(name) for name in self.features]

    def check_values(self, array: NDArray[Any]) -> None:
        """Refuse NaN, Infinity and what lies outside the declared range.

        Args:
            array: numeric, of this slot's dtype.

        Raises:
            TensorMismatch: a value is refused; the message names the first.
        """
        if self.range is not None and array.size:
            low, high = self.range
            if self.gaps:
                if not ((array >= low) & (array <= high) | np.isnan(array)).all():
                    self._refuse_value(array)
            # Comparisons with NaN are false, so one test refuses it too.
            elif not (array.min() >= low and array.max() <= high):
                self._refuse_value(array)
        elif self.floating and not np.isfinite(array).all():
            if not self.gaps or np.isinf(array).any():
                self._refuse_value(array)

    def _refuse_value(self, array: NDArray[Any]) -> NoReturn:
        flat = array.reshape(-1)
        good = np.isfinite(flat)
        wanted = "a finite number"
        if self.range is not None:
            low, high = self.range
            good &= (flat >= low) & (flat <= high)
            wanted = f"{low:g} to {high:g}"
        if self.gaps:
            good |= np.isnan(flat)
            wanted += " or a gap"
        index = int(np.argmin(good))
        self.refuse(
            f"has {flat[index].item()!r} at element {index}",
            f"{wanted} in {self.datatype}",
            "Clean or rescale the values before sending them.",
        )


class Form:
    """What a JSON header says before binary tensors, once it was found to be right.

    A client that asks again and again sends the same header every time.

    Args:
        parts: of each input in the order of its bytes: what it is, its shape, its size in bytes.
        request: the first request with this header.
    """

    __slots__ = ("outputs", "parameters", "parts", "size")

    def __init__(
        self, parts: tuple[tuple[Slot, tuple[int, ...], int], ...], request: InferRequest
    ) -> None:
        self.parts = parts
        self.size = sum(size for _, _, size in parts)
        self.outputs = request.outputs
        self.parameters = request.parameters


@dataclass(frozen=True, slots=True)
class Signature:
    """A manifest's inputs by name, and the outputs that a request may ask for."""

    manifest: Manifest
    where: str
    inputs: dict[str, Slot]
    outputs: dict[str, str]
    binary_only: tuple[str, ...]
    #: known JSON headers by their text and the row limit they were checked against
    forms: dict[tuple[bytes, int], Form] = field(default_factory=dict)

    def remember(self, header: tuple[bytes, int], form: Form) -> None:
        """Know this header again; the memory is small, and starts anew when it is full."""
        if len(header[0]) > _LONGEST_FORM:
            return
        if len(self.forms) >= _FORMS:
            self.forms.clear()
        self.forms[header] = form

    @property
    def takes_nothing(self) -> bool:
        """Whether every input may be left out."""
        return all(slot.optional for slot in self.inputs.values())

    def single(self) -> Slot:
        """The only input, or the only one that has to be sent.

        Raises:
            TensorMismatch: there are several.
        """
        slots = list(self.inputs.values())
        needed = slots if len(slots) == 1 else [slot for slot in slots if not slot.optional]
        if len(needed) != 1:
            raise TensorMismatch(
                f"{self.where}: got a raw body for {len(self.inputs)} inputs "
                f"({', '.join(self.inputs)}), wanted a model with one. "
                "Send JSON, or binary tensors behind a JSON header."
            )
        return needed[0]

    def missing(self, inputs: Mapping[str, Any]) -> list[str]:
        """Names of inputs that have to be sent and were not."""
        return [
            name for name, slot in self.inputs.items() if name not in inputs and not slot.optional
        ]


_compiled: dict[int, Signature] = {}


def signature_of(manifest: Manifest) -> Signature:
    """The signature of a manifest, from the cache where this very object was seen before."""
    # By identity: a manifest holds dicts and has no hash. The entry keeps it alive, so
    # that no other object can come to bear its id.
    signature = _compiled.get(id(manifest))
    if signature is None:
        if len(_compiled) >= _KEPT:
            _compiled.clear()
        signature = _compiled[id(manifest)] = _compile(manifest)
    return signature


def _compile(manifest: Manifest) -> Signature:
    outputs = {t.name: t.datatype for t in (*manifest.outputs, *task_outputs(manifest))}
    return Signature(
        manifest=manifest,
        where=manifest.reference,
        inputs={tensor.name: _slot(manifest, tensor) for tensor in manifest.inputs},
        outputs={name: str(datatype) for name, datatype in outputs.items()},
        binary_only=tuple(name for name, kind in outputs.items() if kind in BINARY_ONLY),
    )


def _slot(manifest: Manifest, tensor: Tensor) -> Slot:
    dtype = DTYPES[tensor.datatype]
    bounds = tensor.range
    if bounds is not None and dtype.kind in "iu":
        whole = np.iinfo(dtype)
        if bounds[0] <= whole.min and bounds[1] >= whole.max:
            bounds = None
    elif bounds is not None and dtype.kind == "f":
        # A bound beyond the dtype would become Infinity in it, and let Infinity pass.
        finite = np.finfo(dtype)
        bounds = max(bounds[0], float(finite.min)), min(bounds[1], float(finite.max))
    sequences = manifest.sequences
    return Slot(
        name=tensor.name,
        datatype=tensor.datatype,
        dtype=dtype,
        shape=tensor.shape,
        range=bounds if dtype.kind in "iuf" else None,
        floating=dtype.kind == "f",
        where=f"{manifest.reference}: input '{tensor.name}'",
        remedy=f"GET /v2/models/{manifest.name} lists every input.",
        features=tensor.features or (),
        gaps=sequences is not None
        and sequences.gaps == "interpolate"
        and tensor.name == sequences.input,
        # Noise is drawn where none is sent; what is legal and what is left to chance is known.
        optional=manifest.task == "generate"
        or (sequences is not None and tensor.name == sequences.length)
        or (manifest.policy is not None and tensor.name in (LEGAL, NOISE)),
    )


def listed(names: Sequence[str]) -> str:
    """Names for an error message, not too many of them."""
    some = ", ".join(shown(name) for name in names[:_LISTED])
    return some if len(names) <= _LISTED else f"{some} and {len(names) - _LISTED} more"


def shown(value: Any) -> str:
    """A value from a request, short enough for an error message."""
    if isinstance(value, dict):
        return f"an object of {len(value)} members"
    if isinstance(value, list):
        if len(value) > 8 or any(isinstance(item, (list, dict)) for item in value):
            return f"a list of {len(value)}"
        return f"({', '.join(shown(item) for item in value)})"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
