"""Alarms over HTTP: the list, the feed, and what operators do about them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.errors import InvalidParameter, UnknownAlarm
from service.routes.negotiation import preferred
from service.serving import Serving
from service.streaming.alarm_page import page

router = APIRouter(tags=["alarms"])
EVENTS, PAGE = "text/event-stream", "text/html"
AlarmPath = Annotated[str, Path(alias="id", description="Alarm id.", max_length=256)]


def _in_words(verdict: Any) -> Any:
    return str(verdict).lower() if isinstance(verdict, bool) else verdict


#: A JSON `true` is as good as the word.
Verdict = Annotated[Literal["true", "false"], BeforeValidator(_in_words)]


class Act(BaseModel):
    """Who acts, and why."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=256, description="Name of the person who acts.")
    comment: str | None = Field(None, max_length=2000, description="In their words.")


class Feedback(Act):
    """Whether an alarm was a true one."""

    verdict: Verdict = Field(description="true: there was something.")


class Shelving(Act):
    """Who shelves an alarm, why, and for how long."""

    minutes: float | None = Field(
        None, gt=0, le=10_080, description="For so long; else until the alarm ends, once."
    )


@router.get("/alarms", response_class=HTMLResponse)
async def alarm_page() -> Response:
    """The page on which operators see alarms as they come, and deal with them."""
    text, policy = page()
    headers = {
        "content-security-policy": policy, "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer", "cache-control": "no-cache",
    }  # fmt: skip
    return HTMLResponse(text, headers=headers)


@router.get(
    "/v2/alarms",
    responses={
        200: {"content": {EVENTS: {"schema": {"type": "string"}}}},
        303: {"description": "To the page for people, where a browser asks."},
    },
    response_class=JSONResponse,
)
async def alarms(
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Resume after this event.")
    ] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="Events after this id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most alarms and events.")] = 100,
    stream: Annotated[
        str | None, Query(max_length=128, description="Of this stream alone.")
    ] = None,
    history: Annotated[bool, Query(description="Those of backfilled rows too.")] = False,
) -> Response:
    """Alarms as JSON; with `Accept: text/event-stream` live events as they come, with resume."""
    serving: Serving = request.app.state.serving
    wanted = preferred(accept, ("application/json", EVENTS, PAGE))
    if wanted == PAGE:
        return RedirectResponse("../alarms", 303, {"vary": "accept"})
    if wanted == EVENTS:
        known = None
        if last_event_id is not None:
            if not last_event_id.isdecimal() or len(last_event_id) > 15:
                raise InvalidParameter(
                    f"Last-Event-ID: got {last_event_id[:40]!r}, wanted the id of an event."
                )
            known = int(last_event_id)
        elif after:
            known = after
        feed = serving.streams.feed.follow(known, lambda: serving.draining)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(feed, media_type=EVENTS, headers=headers)
    said = await asyncio.to_thread(
        lambda: serving.streams.feed.page(after, limit, stream, history=history)
    )
    return JSONResponse(said)


@router.get("/v2/alarms/{id}")
async def alarm(request: Request, alarm_id: AlarmPath) -> dict[str, Any]:
    """One alarm: when and why it was raised, what became of it, its records."""
    serving: Serving = request.app.state.serving
    found = await asyncio.to_thread(serving.streams.feed.alarm, alarm_id)
    if found["raised"] is None:
        raise UnknownAlarm("no alarm has this id; GET /v2/alarms lists them.")
    return found


async def _act(request: Request, alarm_id: str, act: str, said: Act) -> dict[str, Any]:
    serving: Serving = request.app.state.serving
    asked = {"what": "act", "alarm": alarm_id, "act": act, "caller": request.state.caller}
    return await serving.streams.ask({**asked, **said.model_dump()})


@router.post("/v2/alarms/{id}/acknowledge")
async def acknowledge_alarm(request: Request, alarm_id: AlarmPath, said: Act) -> dict[str, Any]:
    """Somebody has seen it and deals with it."""
    return await _act(request, alarm_id, "acknowledge", said)


@router.post("/v2/alarms/{id}/confirm")
async def confirm_alarm(request: Request, alarm_id: AlarmPath, said: Act) -> dict[str, Any]:
    """What it called for was done; after `acknowledge`."""
    return await _act(request, alarm_id, "confirm", said)


@router.post("/v2/alarms/{id}/shelve")
async def shelve_alarm(request: Request, alarm_id: AlarmPath, said: Shelving) -> dict[str, Any]:
    """Announce nothing of this stream for a while, or until the alarm ends."""
    return await _act(request, alarm_id, "shelve", said)


@router.post("/v2/alarms/{id}/unshelve")
async def unshelve_alarm(request: Request, alarm_id: AlarmPath, said: Act) -> dict[str, Any]:
    """Announce again."""
    return await _act(request, alarm_id, "unshelve", said)


@router.post("/v2/alarms/{id}/feedback")
async def judge_alarm(request: Request, alarm_id: AlarmPath, said: Feedback) -> dict[str, Any]:
    """Whether it was a true alarm; a false one may teach the calibration of its stream."""
    serving: Serving = request.app.state.serving
    asked = {"what": "feedback", "alarm": alarm_id, "caller": request.state.caller}
    return await serving.streams.ask({**asked, **said.model_dump()})


@router.post("/v2/alarms/{id}/reset")
async def reset_alarm(request: Request, alarm_id: AlarmPath, said: Act) -> dict[str, Any]:
    """End an alarm that is latched."""
    return await _act(request, alarm_id, "reset", said)
