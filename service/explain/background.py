"""What a table's explanations must know of the training data: small, and stored with the model.

Computed once, offline. Everything that upstream's `LimeTabularExplainer` takes from the
training data is in it, so the same explanation needs no training data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import rfc8785
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from service.errors import ExplanationError

Discretizer = Literal["quartile", "decile"]
_PERCENTILES: dict[str, list[int]] = {
    "quartile": [25, 50, 75],
    "decile": [10, 20, 30, 40, 50, 60, 70, 80, 90],
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Frequencies(_Part):
    """How often each value came. `names` are of the values 0, 1, ...; empty = none."""

    values: tuple[float, ...]
    counts: tuple[float, ...]
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _belong(self) -> Frequencies:
        if not self.values or len(self.values) != len(self.counts):
            raise ValueError(f"{len(self.values)} values with {len(self.counts)} counts")
        if min(self.counts) < 0 or sum(self.counts) <= 0:
            raise ValueError("counts must not be negative, nor all 0")
        return self

    def shares(self) -> NDArray[np.float64]:
        """Counts as shares of 1."""
        shares: NDArray[np.float64] = np.array(self.counts) / float(sum(self.counts))
        return shares


class Bins(_Part):
    """One numeric column cut into bins: `edges` between them, and what fell into each.

    `stds` are those of the values in the bin plus 1e-11, as upstream has them.
    """

    edges: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]
    mins: tuple[float, ...]
    maxs: tuple[float, ...]
    used: Frequencies

    @model_validator(mode="after")
    def _belong(self) -> Bins:
        bins = len(self.edges) + 1
        if not self.edges or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must be one or more numbers that rise")
        if {len(self.means), len(self.stds), len(self.mins), len(self.maxs)} != {bins}:
            raise ValueError(f"{len(self.edges)} edges need {bins} means, stds, mins and maxs")
        if min(self.stds) <= 0:
            raise ValueError("stds must be above 0")
        if any(low > high for low, high in zip(self.mins, self.maxs, strict=True)):
            raise ValueError("a bin's min is above its max")
        if not all(value in range(bins) for value in self.used.values):
            raise ValueError(f"the bins used must be among 0 to {bins - 1}")
        return self

    def describe(self, name: str, value: float) -> str:
        """Upstream's words for the bin that a value falls into."""
        edges, at = self.edges, int(np.searchsorted(self.edges, value))
        if at == 0:
            return f"{name} <= {edges[0]:.2f}"
        if at == len(edges):
            return f"{name} > {edges[-1]:.2f}"
        return f"{edges[at - 1]:.2f} < {name} <= {edges[at]:.2f}"


class TableBackground(_Part):
    """Statistics of a table of D columns.

    `means` and `scales` are those of upstream's scaler, in the columns' units; a column that
    never changes has scale 1. `categorical` and, for each discretizer, `bins` are keyed by the
    column's index: together they cover every column.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    categorical: dict[int, Frequencies]
    bins: dict[Discretizer, dict[int, Bins]]

    @model_validator(mode="after")
    def _belong(self) -> TableBackground:
        width = len(self.names)
        if not width or {len(self.means), len(self.scales)} != {width}:
            raise ValueError(
                f"{width} names, {len(self.means)} means, {len(self.scales)} scales: wanted "
                "one of each a column"
            )
        if min(self.scales) <= 0:
            raise ValueError("scales must be above 0")
        for name, columns in self.bins.items():
            if sorted([*columns, *self.categorical]) != list(range(width)):
                raise ValueError(
                    f"'{name}' has bins of the columns {sorted(columns)}, categorical are "
                    f"{sorted(self.categorical)}: wanted each of 0 to {width - 1} once"
                )
        if not all(0 <= column < width for column in self.categorical):
            raise ValueError(f"categorical columns must be among 0 to {width - 1}")
        return self

    @classmethod
    def fit(
        cls,
        data: NDArray[Any],
        *,
        names: Sequence[str] = (),
        categorical: Sequence[int] = (),
        categorical_names: Mapping[int, Sequence[str]] | None = None,
        discretizers: Sequence[Discretizer] = ("quartile",),
    ) -> TableBackground:
        """Take the statistics of training data.

        Args:
            data: (rows, D) numbers; taken as float64.
            names: of the columns; none = "0", "1", ...
            categorical: indices of columns that hold whole numbers which only name a kind.
            categorical_names: of the values 0, 1, ... of a categorical column.
            discretizers: for which explanations may ask; none = no bins.

        Raises:
            ExplanationError: the data cannot be perturbed by statistics: a wrong shape, NaN or
                infinity, a numeric column that never changes, a category that is no whole
                number.
        Source: lime 0.2.0.1, discretize.py and lime_tabular.py.
        """
        table = _checked(data)
        names = tuple(names) or tuple(str(at) for at in range(table.shape[1]))
        if len(names) != table.shape[1]:
            raise ExplanationError(
                f"background: got {len(names)} names for {table.shape[1]} columns. "
                "Send one name a column."
            )
        kinds = {int(column) for column in categorical}
        if not kinds <= set(range(table.shape[1])):
            raise ExplanationError(
                f"background: categorical columns {sorted(kinds)}, wanted indices from 0 to "
                f"{table.shape[1] - 1}."
            )
        for column, name in enumerate(names):
            _check_column(table[:, column], name, column in kinds)
        means, scales = _scaler(table)
        numeric = [column for column in range(table.shape[1]) if column not in kinds]
        return cls(
            names=names,
            means=tuple(means),
            scales=tuple(scales),
            categorical={
                column: _frequencies(table[:, column], (categorical_names or {}).get(column, ()))
                for column in sorted(kinds)
            },
            bins={
                kind: {column: _bins(table[:, column], _PERCENTILES[kind]) for column in numeric}
                for kind in discretizers
            },
        )

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> TableBackground:
        """Read what `to_json` gave.

        Raises:
            ExplanationError: parts are missing, of the wrong type, or do not belong together.
        """
        try:
            return cls.model_validate(json)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "as a whole"
            raise ExplanationError(
                f"background statistics: {where}: {first['msg']}. Compute them again with "
                "TableBackground.fit."
            ) from None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; numbers keep every bit."""
        return self.model_dump(mode="json")

    @cached_property
    def sha256(self) -> str:
        """Digest of the canonical JSON form."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()


def _checked(data: NDArray[Any]) -> NDArray[np.float64]:
    if data.ndim != 2 or data.shape[0] < 2 or data.shape[1] < 1 or data.dtype.kind not in "fiub":
        raise ExplanationError(
            f"background: got {data.dtype} of shape {data.shape}, wanted numbers of shape "
            "(rows, columns) with at least 2 rows. Send the training data."
        )
    table = np.ascontiguousarray(data, np.float64)
    bad = np.flatnonzero(~np.isfinite(table).all(axis=0))
    if bad.size:
        raise ExplanationError(
            f"background: NaN or infinity in the columns {bad.tolist()}, wanted finite numbers. "
            "Fill the gaps the way that the model's inputs are filled."
        )
    return table


def _check_column(column: NDArray[np.float64], name: str, categorical: bool) -> None:
    if categorical:
        if (column != np.rint(column)).any():
            raise ExplanationError(
                f"background: categorical column '{name}' holds "
                f"{column[column != np.rint(column)][0]:g}, wanted whole numbers. "
                "Number its kinds, or take it as numeric."
            )
    elif column.min() == column.max():
        raise ExplanationError(
            f"background: column '{name}' is {column[0]:g} in all {len(column)} rows, wanted "
            "values that differ: nothing can be said of a column that never changes. Send more "
            "rows, leave it out of the model, or declare it categorical."
        )


def _scaler(table: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    # scikit-learn is only needed here, offline.
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False).fit(table)
    return scaler.mean_.tolist(), scaler.scale_.tolist()


def _frequencies(column: NDArray[Any], names: Sequence[str] = ()) -> Frequencies:
    values, counts = np.unique(column, return_counts=True)
    return Frequencies(
        values=tuple(values.tolist()), counts=tuple(counts.tolist()), names=tuple(names)
    )


def _bins(column: NDArray[np.float64], percentiles: list[int]) -> Bins:
    edges = np.unique(np.percentile(column, percentiles))
    at = np.searchsorted(edges, column)
    inside = [column[at == index] for index in range(len(edges) + 1)]
    return Bins(
        edges=tuple(edges.tolist()),
        means=tuple(float(part.mean()) if part.size else 0.0 for part in inside),
        stds=tuple((float(part.std()) if part.size else 0.0) + 0.00000000001 for part in inside),
        mins=(float(column.min()), *edges.tolist()),
        maxs=(*edges.tolist(), float(column.max())),
        used=_frequencies(at),
    )
