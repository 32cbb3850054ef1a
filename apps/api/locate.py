"""`POST /v1/locate` and `POST /v1/search`: locate a place's photos, look one up in the atlases; nothing is kept."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from agents.schemas import Answer
from apps.api.parameters import (
    AtlasName,
    AtlasNames,
    Choices,
    Owner,
    PhotoUpload,
    PlaceUploads,
    Service,
    chosen_atlases,
    in_thread,
    uploaded_photo,
    uploaded_photos,
)
from apps.api.problems import problems
from apps.api.schemas import SimilarPlaces
from apps.api.streams import EVENT_STREAM, STREAM_EXAMPLE, event_response, last_event, wants_events
from apps.service.choices import RunChoices
from apps.service.errors import UnusableError
from apps.service.service import ServiceOffer
from core.errors import first_problem
from geo.point import Point
from graphs.events.steps import Answered
from graphs.state import CaptureClues
from tools.results import Circle, ToolError
from tools.sun_check import check_time

router = APIRouter(tags=["photos"])

PartOfDay = Literal["morning", "noon", "afternoon", "evening", "night"]
EVENTS = {
    "description": "The answer; as server-sent events where the request accepts `text/event-stream`.",
    "content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": STREAM_EXAMPLE}},
}


@router.post("/locate", response_model=Answer, responses={200: EVENTS, **problems(415, 503)})
async def locate(
    request: Request,
    service: Service,
    owner: Owner,
    photo: PlaceUploads,
    choices: Choices,
    question: Annotated[str, Form(description="what you want to know")] = "",
    taken_at: Annotated[str | None, Form(max_length=40, description="when it was taken, ISO 8601")] = None,
    sun_height_deg: Annotated[float | None, Form(ge=-90.0, le=90.0, description="above the horizon")] = None,
    sun_bearing_deg: Annotated[float | None, Form(ge=0.0, lt=360.0, description="clockwise from north")] = None,
    part_of_day: Annotated[PartOfDay | None, Form()] = None,
) -> Response:
    """Say where a photo was taken, how sure that is, and why. Nothing is kept but a line in the audit log.

    Several parts `photo` are photos of one place, located by all of them: one answer.

    With `Accept: text/event-stream` each step comes as it is done: `accepted`, `step` …, then `answer` or `error`.
    """
    clues = _clues(taken_at or None, sun_height_deg, sun_bearing_deg, part_of_day)
    shown, *more = await uploaded_photos(request, photo)
    stream = await in_thread(service.locate, owner, shown, question, choices, clues, more)
    if wants_events(request):
        return event_response(stream)
    last = await last_event(request, stream)
    if not isinstance(last, Answered):
        raise RuntimeError(f"a run ended with {type(last).__name__}")
    return Response(await in_thread(last.answer.model_dump_json), media_type="application/json")


@router.post("/search", responses=problems(415, 503))
async def search(
    request: Request,
    service: Service,
    photo: PhotoUpload,
    limit: Annotated[int, Form(ge=1, le=200, description="candidates of each atlas")] = 20,
    lat: Annotated[float | None, Form(ge=-90.0, le=90.0)] = None,
    lon: Annotated[float | None, Form(ge=-180.0, le=180.0)] = None,
    radius_km: Annotated[float | None, Form(gt=0.0, le=20_100.0, description="of a circle round lat, lon")] = None,
    atlases: AtlasNames = None,
) -> SimilarPlaces:
    """Places of the server's atlases that look like a photo."""
    circle = _circle(lat, lon, radius_km)
    shown = await uploaded_photo(request, photo)
    search_now = partial(service.search, shown, limit, circle, atlases=chosen_atlases(atlases))
    found = await anyio.to_thread.run_sync(search_now, limiter=request.app.state.searching)
    return SimilarPlaces(candidates=tuple(found))


@router.get("/offer", responses=problems())
def offer(
    service: Service,
    model: Annotated[str | None, Query(max_length=200)] = None,
    strategy: Annotated[str | None, Query(max_length=100)] = None,
    atlases: Annotated[list[AtlasName] | None, Query(max_length=100)] = None,
) -> ServiceOffer:
    """What may be chosen, what is accepted, and what leaves the machine with these choices."""
    return service.offer(RunChoices(model=model or None, strategy=strategy or None, atlases=chosen_atlases(atlases)))


def _clues(
    taken_at: str | None, height_deg: float | None, bearing_deg: float | None, part: PartOfDay | None
) -> CaptureClues | None:
    if (taken_at, height_deg, bearing_deg, part) == (None,) * 4:
        return None
    try:
        if taken_at is not None:
            check_time(taken_at)
        return CaptureClues(taken_at=taken_at, sun_height_deg=height_deg, sun_bearing_deg=bearing_deg, part_of_day=part)
    except ValidationError as error:
        raise UnusableError(first_problem(error)) from error
    except ToolError as error:
        raise UnusableError(f"taken_at: {error}") from error


def _circle(lat: float | None, lon: float | None, radius_km: float | None) -> Circle | None:
    given = [value for value in (lat, lon, radius_km) if value is not None]
    if given and len(given) < 3:
        raise UnusableError("lat, lon and radius_km go together")
    if lat is None or lon is None or radius_km is None:
        return None
    return Circle(centre=Point(lat=lat, lon=lon), radius_km=radius_km)
