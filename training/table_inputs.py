"""Columns of a table as the network reads them, as explanations vary them, and as an example."""

from __future__ import annotations

import csv
import io

import numpy as np
import torch
from numpy.typing import NDArray

from models.mlp import MISSING, Column, TableNetwork, is_missing
from service.explain.background import TableBackground
from training.data.table_columns import MISSING_KIND, BadTable
from training.data.tables import Table


def columns_of(table: Table, train: NDArray[np.intp], scaling: str) -> list[Column]:
    """How each column is read; what is fitted is fitted on the training part alone.

    Raises:
        BadTable: a column is empty in the training part.
    """
    columns = []
    for at, name in enumerate(table.columns):
        if at in table.kinds:
            known_kinds = table.kinds[at]
            gap = known_kinds.index(MISSING_KIND) if MISSING_KIND in known_kinds else -1
            columns.append(Column(kinds=len(known_kinds), gap=gap))
            continue
        known = table.rows[train, at].astype(np.float64)
        known = known[~np.isnan(known)]
        if not len(known):
            raise BadTable(
                f"table '{table.name}': column '{name}' is empty in all {len(train)} rows of the "
                f"training part. Leave it out with --drop {name}."
            )
        low, high = known.min(), known.max()
        shift, scale = {
            "none": (0.0, 1.0),
            "minmax01": (low, high - low),
            "minmax11": ((low + high) / 2, (high - low) / 2),
            "standard": (known.mean(), known.std()),
        }[scaling]
        columns.append(
            Column(
                fill=float(np.median(known)),
                shift=float(shift),
                # A pixel that is never lit in this part has no extent to be divided by.
                scale=float(scale) if low < high else 1.0,
                gaps=len(known) < len(train),
            )
        )
    return columns


def background_of(table: Table, train: NDArray[np.intp], network: TableNetwork) -> TableBackground:
    """Statistics of the training part, gaps filled as the network fills them.

    Raises:
        ExplanationError: a column holds one and the same fraction in the whole training part.
    """
    rows = table.rows[train].astype(np.float64)
    fill = np.zeros(rows.shape[1])
    fill[network.row.numeric.numpy()] = network.row.fill.numpy()
    rows = np.where(np.isnan(rows), fill, rows)
    # Nothing can be drawn of a number that never changes but itself.
    constant = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0)).tolist()
    categorical = {*table.kinds, *constant}
    return TableBackground.fit(
        rows,
        names=table.columns,
        categorical=sorted(categorical),
        categorical_names=table.kinds,
        discretizers=("quartile", "decile"),
    )


def example_of(table: Table, test: NDArray[np.intp]) -> bytes:
    """A row of the test part as CSV, one without a gap where there is one."""
    whole = [at for at in test if not np.isnan(table.rows[at]).any()]
    row = torch.from_numpy(table.rows[whole[0] if whole else test[0]])
    sent = torch.where(is_missing(row), torch.full_like(row, MISSING), row)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerow([str(value) for value in sent.numpy()])
    return text.getvalue().encode()
