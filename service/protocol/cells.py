"""One cell of a table: a text to a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

#: What people write in a cell where nothing was measured, in lower case.
_GAPS: Final = frozenset({"", "nan", "na", "null"})
#: Takes a cell; raises ValueError or OverflowError.
Number = Callable[[str], Any]


def strictly(number: Number) -> Number:
    """`float` or `int` without what only Python calls a number."""

    def take(field: str) -> Any:
        if "_" in field or not field.isascii():
            raise ValueError
        return number(field)

    return take


def or_gap(number: Number) -> Number:
    """`number`, or NaN where a cell says that there is none."""

    def take(field: str) -> Any:
        return np.nan if field.strip().lower() in _GAPS else number(field)

    return take


def is_number(field: str) -> bool:
    """Whether a cell holds a number, as Python reads one."""
    try:
        float(field)
    except ValueError:
        return False
    return True
