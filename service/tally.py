"""Observations that are counted later: a histogram costs the hot path one append.

prometheus_client takes a lock and writes two values into a file for each observation;
six of them cost more than a small model. Here they wait in memory for a quarter of a
second at most, or until somebody asks for the metrics, whatever comes first. A process
that is killed loses what waited; its counters never go back.
"""

from __future__ import annotations

import atexit
import threading
import time
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Gauge, Histogram

FLUSH_SECONDS = 0.25

#: by histogram or gauge, so that a model that is loaded again finds its own
_kept: dict[object, Tally | Moment] = {}
_lock = threading.Lock()
_flusher: threading.Thread | None = None
T = TypeVar("T", "Tally", "Moment")


class Tally:
    """Observations of one histogram child, on their way to it.

    Args:
        child: the histogram with its labels.
    """

    __slots__ = ("_child", "_waiting", "observe")

    def __init__(self, child: Histogram) -> None:
        self._child = child
        self._waiting: deque[float] = deque()
        #: takes one value; safe in every thread, because a deque's append is
        self.observe: Callable[[float], None] = self._waiting.append

    def flush(self) -> None:
        """Hand over what waits. Callers hold the room's lock."""
        waiting, child = self._waiting, self._child
        if not waiting:
            return
        bounds = child._upper_bounds
        counts = [0] * len(bounds)
        total = 0.0
        for _ in range(len(waiting)):
            value = waiting.popleft()
            total += value
            counts[bisect_left(bounds, value)] += 1
        # As `Histogram.observe` does it, once for all: it has no public form for that.
        child._sum.inc(total)
        for bucket, count in zip(child._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Moment:
    """When something last happened, on its way to a gauge.

    Args:
        child: the gauge with its labels; seconds since 1970.
    """

    __slots__ = ("_child", "_told", "seconds")

    def __init__(self, child: Gauge) -> None:
        self._child = child
        self._told = 0.0
        #: set it to `time.time()` whenever it happens
        self.seconds = 0.0

    def flush(self) -> None:
        """Hand over the moment if it is a new one. Callers hold the room's lock."""
        if self.seconds != self._told:
            self._told = self.seconds
            self._child.set(self._told)


def flush() -> None:
    """Hand over what waits in this process."""
    with _lock:
        for one in _kept.values():
            one.flush()


def observer(child: Histogram) -> Callable[[float], None]:
    """Takes one observation for a histogram with its labels; safe in every thread."""
    return _kept_as(Tally, child).observe


def moment(child: Gauge) -> Moment:
    """Takes the moments of a gauge with its labels."""
    return _kept_as(Moment, child)


def _kept_as(kind: type[T], child: Any) -> T:
    global _flusher
    with _lock:
        one = _kept.get(child)
        if not isinstance(one, kind):
            one = _kept[child] = kind(child)
        if _flusher is None:
            atexit.register(flush)
            _flusher = threading.Thread(target=_run, name="glassline-metrics", daemon=True)
            _flusher.start()
        return one


def _run() -> None:
    while True:
        time.sleep(FLUSH_SECONDS)
        flush()
