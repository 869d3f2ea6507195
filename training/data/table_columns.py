"""Columns of a table: texts to numbers or to kinds, and the target to values or to classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.mlp import MISSING
from service.errors import GlasslineError
from training.data.table_files import Cells, taken_for_missing

Task = Literal["classify", "regress"]
#: More different texts than this in a column are names of rows, not kinds.
MOST_KINDS = 256
#: A whole-number target with at most so many values is taken for classes.
MOST_CLASSES = 20
#: What a gap among kinds is called: it is one of them.
MISSING_KIND = "missing"


class BadTable(GlasslineError):
    """A table that nothing can be learnt from as it is."""


def truth_of(
    cells: Sequence[str], where: str, target: str, task: str
) -> tuple[Task, NDArray[np.int64] | NDArray[np.float64], tuple[str, ...]]:
    """What the target is: a kind of answer, its values, and the labels of classes.

    Args:
        cells: of the target, none of them a gap.
        where: begins a message.
        target: name of the column.
        task: classify, regress or auto.

    Raises:
        BadTable: nothing can be learnt from it.
    """
    numbers = _numbers(cells)
    if task == "regress" and numbers is None:
        odd = next(cell for cell in cells if _numbers([cell]) is None)
        raise BadTable(
            f"{where}: target '{target}' holds {odd!r:.60}, wanted numbers. "
            "Classify instead, or mend the file."
        )
    whole = numbers is not None and bool((numbers == np.rint(numbers)).all())
    few = len(set(cells)) <= MOST_CLASSES
    if task == "regress" or (task == "auto" and numbers is not None and not (whole and few)):
        assert numbers is not None
        if not np.isfinite(numbers).all():
            odd = cells[int(np.argmin(np.isfinite(numbers)))]
            raise BadTable(f"{where}: target '{target}' holds {odd!r:.60}, wanted finite numbers.")
        if numbers.min() == numbers.max():
            raise BadTable(f"{where}: target '{target}' is {numbers[0]:g} in every row.")
        return "regress", numbers[:, np.newaxis], ()
    # Whole numbers in their own order, 10 behind 9.
    order = (lambda one: (float(one), one)) if numbers is not None else (lambda one: one)
    labels = tuple(sorted(set(cells), key=order))
    if len(labels) < 2:
        raise BadTable(
            f"{where}: target '{target}' is '{labels[0]}' in every row, wanted two classes or more."
        )
    if _are_names(labels, cells):
        raise BadTable(
            f"{where}: target '{target}' has {len(labels)} different values in {len(cells)} rows: "
            "no classes. Name another target, or take --task regress."
        )
    index = {label: at for at, label in enumerate(labels)}
    return "classify", np.array([index[cell] for cell in cells], np.int64), labels


def values_of(
    cells: Cells, where: str, name: str, categorical: bool
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Values of a column, (n,) FP32, and the names of its kinds where it has some.

    Raises:
        BadTable: nothing can be learnt from it.
    """
    column = cells.columns[name]
    there = [at for at, cell in enumerate(column) if not taken_for_missing(cell)]
    remedy = f"Leave it out with --drop {name}."
    if not there:
        raise BadTable(f"{where}: column '{name}' is empty in every row. {remedy}")
    known = [column[at] for at in there]
    values = np.full(len(column), np.nan, np.float32)
    numbers = None if categorical else _numbers(known)
    if len(set(known)) == 1 and len(known) == len(column):
        raise BadTable(
            f"{where}: column '{name}' is '{known[0]}' in every row: nothing can be learnt from "
            f"it. {remedy}"
        )
    if numbers is not None:
        with np.errstate(over="ignore"):
            values[there] = numbers
        good = np.isfinite(values[there]) & (values[there] > MISSING)
        if not good.all():
            odd = there[int(np.argmin(good))]
            raise BadTable(
                f"{where}: line {cells.lines[odd]}, column '{name}': got {column[odd]!r:.60}, "
                f"wanted a finite number of FP32 above {MISSING:g}. Mend the file."
            )
        return values, ()
    texts = [at for at in there if _numbers([column[at]]) is None]
    if not categorical and len(texts) < len(there) / 2:
        raise BadTable(
            f"{where}: column '{name}' holds numbers, but line {cells.lines[texts[0]]} says "
            f"{column[texts[0]]!r:.60}. Mend the file, or take it as kinds: --categorical {name}."
        )
    kinds = tuple(sorted(set(known)))
    if len(there) < len(column) and MISSING_KIND not in kinds:
        kinds = (*kinds, MISSING_KIND)
    if _are_names(kinds, known):
        raise BadTable(
            f"{where}: column '{name}' has {len(kinds)} different texts in {len(known)} rows: it "
            f"names rows, not kinds (the first is {known[0]!r:.60}). {remedy}"
        )
    index = {kind: at for at, kind in enumerate(kinds)}
    named = [MISSING_KIND if taken_for_missing(cell) else cell for cell in column]
    return np.array([index[cell] for cell in named], np.float32), kinds


def _are_names(different: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether texts name rows rather than kinds of them."""
    often = len(different) > MOST_CLASSES and len(different) > len(cells) / 2
    return often or len(different) > MOST_KINDS


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The cells as numbers, infinite ones too; None where one is none."""
    if not all(cell.isascii() and "_" not in cell for cell in cells):
        return None
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return None
