"""A run's events to a client: as server-sent events while they happen, or the last one alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
from fastapi import Request
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

from apps.api.problems import RunFailedError
from apps.service.errors import UnavailableError
from apps.service.events import FINAL_EVENTS, RunFailed, ServiceEvent, event_json, event_name, failure
from apps.service.runs import RunStream

EVENT_STREAM = "text/event-stream"
_PING_S = 15
_SEND_S = 60.0
"""A client that takes in nothing for so long is left."""
_LOOK_S = 0.5
_FAREWELL_S = 3.0
"""So long the last event may take when the server stops."""

STREAM_EXAMPLE = (
    'id: 1\nevent: accepted\ndata: {"ahead": 0}\n\n'
    'id: 2\nevent: step\ndata: {"step": "look", "text": "2 lines of text read", ...}\n\n'
    'id: 3\nevent: answer\ndata: {"answer": {...}}\n\n'
)


def wants_events(request: Request) -> bool:
    """Whether the client asked for server-sent events."""
    return EVENT_STREAM in request.headers.get("accept", "")


def event_response(stream: RunStream) -> EventSourceResponse:
    """All events as they come, numbered from 1; where the server stops, the last says so."""
    stopping = anyio.Event()
    return EventSourceResponse(
        _events(stream, stopping),
        ping=_PING_S,
        send_timeout=_SEND_S,
        sep="\n",
        shutdown_event=stopping,
        shutdown_grace_period=_FAREWELL_S,
    )


async def _events(stream: RunStream, stopping: anyio.Event) -> AsyncIterator[ServerSentEvent]:
    watching, number = asyncio.create_task(_stop_when(stopping, stream)), 0
    try:
        async for event in stream:
            number += 1
            yield ServerSentEvent(json.dumps(event_json(event)), event=event_name(event), id=str(number), sep="\n")
    finally:
        watching.cancel()


async def _stop_when(stopping: anyio.Event, stream: RunStream) -> None:
    await stopping.wait()
    stream.stop()


async def last_event(request: Request, stream: RunStream) -> ServiceEvent:
    """The event that a run ended with; the run ends early where the client leaves.

    Raises:
        RunFailedError: it failed.
    """
    watching = asyncio.create_task(_leave_with(request, stream))
    last: ServiceEvent | None = None
    try:
        async for event in stream:
            last = event
    finally:
        watching.cancel()
    if not isinstance(last, FINAL_EVENTS):
        last = failure(UnavailableError("the client left before the answer; send the request again"))
    if isinstance(last, RunFailed):
        raise RunFailedError(last)
    return last


async def _leave_with(request: Request, stream: RunStream) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_S)
    stream.leave()
