"""The clock of an explanation: seconds by step, progress, and the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.errors import DeadlineExceeded


class Steps:
    """Times each step, reports progress, and stops at the deadline.

    Args:
        deadline: `time.monotonic()` by which the answer must stand; None = never.
        total: samples in all.
        progress: told (samples done, samples in all) after each batch; what it raises passes.
    """

    def __init__(
        self, deadline: float | None, total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self._deadline = deadline
        self._total = total
        self._progress = progress
        self._began = self._last = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def batch(self, done: int) -> None:
        """A batch is scored; raises DeadlineExceeded when it is too late."""
        if self._progress is not None:
            self._progress(done, self._total)
        self._check(f"{done} of {self._total} samples scored")

    def end(self, name: str) -> None:
        """A step that ran since the last one has ended; raises DeadlineExceeded as well."""
        now = time.perf_counter()
        self._seconds[name] = now - self._last
        self._last = now
        self._check(f"step '{name}' done")

    def record(self, **seconds: float) -> None:
        """Steps that ran interleaved since the last one, and were timed by themselves."""
        self._seconds.update(seconds)
        self._last = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Seconds by step, and in all."""
        return {**self._seconds, "total": time.perf_counter() - self._began}

    def _check(self, state: str) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DeadlineExceeded(
                f"explanation: out of time, {state}. Lower num_samples, or allow more time."
            )
