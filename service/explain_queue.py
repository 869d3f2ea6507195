"""The way from a predicting process to the explaining ones: bounded, timed, honest."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from service import errors, metrics, tracing
from service.explain.parameters import ExplainParameters


class ExplainerProxy(Protocol):
    """The explaining service as BentoML's proxy offers it: JSON in, JSON out."""

    explain: Callable[..., Awaitable[dict[str, Any]]]
    render: Callable[..., Awaitable[dict[str, Any]]]
    replay: Callable[..., Awaitable[dict[str, Any]]]
    report: Callable[..., Awaitable[dict[str, Any]]]


class ExplainQueue:
    """Explanations that this process waits for.

    Args:
        proxy: the explaining service.
        size: how many may wait at once; one more is refused.
        timeout_s: seconds until an explanation is given up.
    """

    def __init__(self, proxy: ExplainerProxy, size: int, timeout_s: float) -> None:
        self._proxy = proxy
        self._size = size
        self._timeout_s = timeout_s
        self._waiting = 0

    async def explain(self, record_id: str, parameters: ExplainParameters) -> dict[str, Any]:
        """Explain a recorded prediction; the answer is recorded too.

        Raises:
            Overloaded: too many explanations are waiting.
            DeadlineExceeded: it took longer than the time budget.
            Unavailable: the explaining process is not there.
            GlasslineError: whatever the explaining process refused, as its own class.
        """
        try:
            answer = await self._bounded(
                lambda: self._proxy.explain(
                    record_id=record_id,
                    parameters=parameters.model_dump(mode="json"),
                    timeout_s=self._timeout_s,
                    trace=tracing.carrier(),
                )
            )
        except errors.GlasslineError as error:
            metrics.EXPLANATIONS.labels(type(error).__name__).inc()
            raise
        metrics.EXPLANATIONS.labels("done").inc()
        return answer

    async def render(self, explanation_id: str, media_type: str) -> bytes:
        """A recorded explanation as JSON, PNG or HTML; errors as `explain` has them."""
        answer = await self._bounded(
            lambda: self._proxy.render(explanation_id=explanation_id, wanted=media_type)
        )
        return base64.b64decode(answer["body"])

    async def replay(self, record_id: str, caller: str) -> dict[str, Any]:
        """Do again what a record tells of; see `Replayer.replay`. Errors as `explain` has them."""
        return await self._bounded(
            lambda: self._proxy.replay(
                record_id=record_id, caller=caller, timeout_s=self._timeout_s
            )
        )

    async def report(self, record_id: str, caller: str, media_type: str) -> bytes:
        """The report on a record, HTML or PDF; errors as `explain` has them."""
        answer = await self._bounded(
            lambda: self._proxy.report(record_id=record_id, caller=caller, wanted=media_type)
        )
        return base64.b64decode(answer["body"])

    async def _bounded(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        if self._waiting >= self._size:
            raise errors.Overloaded(
                f"explanations: {self._waiting} are waiting and {self._size} may. Try again "
                "later, ask for fewer num_samples, or raise GLASSLINE_EXPLAIN_WORKERS.",
                retry_after_s=2,
            )
        self._waiting += 1
        metrics.EXPLANATIONS_WAITING.inc()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await call()
        except TimeoutError:
            raise errors.DeadlineExceeded(
                f"explanation: not done within {self._timeout_s:g} s. Ask for fewer num_samples, "
                "or raise GLASSLINE_EXPLAIN_TIMEOUT_S."
            ) from None
        except errors.GlasslineError:
            raise
        except Exception as error:  # whatever BentoML's client raises: the process is not there
            raise errors.Unavailable(
                f"the explaining process does not answer ({type(error).__name__}); predictions go "
                "on. It is being restarted: try again in some seconds."
            ) from error
        finally:
            self._waiting -= 1
            metrics.EXPLANATIONS_WAITING.dec()
        return _raised(answer)


def packed(error: errors.GlasslineError) -> dict[str, Any]:
    """An error as the explaining process sends it over."""
    return {"error": {"kind": type(error).__name__, "message": str(error)}}


def _raised(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer itself, or the error that `packed` put in its place."""
    problem = answer.get("error")
    if problem is None:
        return answer
    kind = getattr(errors, problem["kind"], errors.GlasslineError)
    raise kind(problem["message"])
