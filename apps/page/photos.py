"""`/v1/threads/…/photos/…`: an answer about a photo as a map draws it, as a file, and seen from above."""

from __future__ import annotations

import base64
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from agents.schemas import Answer
from apps.api.parameters import ItemId, Owner, Service
from apps.api.problems import problems
from apps.maps.ground import ground_data, view_data
from apps.maps.page import map_page
from apps.maps.page_data import focus_bounds, photo_data
from apps.output.formatting import LocatedPhoto
from apps.output.geojson import geojson_pieces
from apps.output.kml import kml_pieces
from apps.output.xmp import jpeg_with_estimate
from apps.service.conversations import ThreadPhoto
from apps.service.errors import NotFoundError, UnusableError
from apps.service.service import GeolocationService
from graphs.components import open_atlas_photos
from retrieval.candidate import AtlasKind
from retrieval.photos.photo import decode_photo
from retrieval.photos.thumbnail import strip_jpeg, thumbnail_jpeg
from tools.results import SatelliteView, ToolError

router = APIRouter(prefix="/threads/{thread_id}/photos/{photo_id}", tags=["threads"])

VIEW_TOOL = "satellite_view"


class AnswerFormat(StrEnum):
    """Files of an answer."""

    JSON = "json"
    GEOJSON = "geojson"
    KML = "kml"
    HTML = "html"
    """A report with a map, which opens without a network."""
    JPEG = "jpeg"
    """A copy of the photo with the estimate in its XMP."""


_TYPES = {
    AnswerFormat.JSON: "application/json",
    AnswerFormat.GEOJSON: "application/geo+json",
    AnswerFormat.KML: "application/vnd.google-earth.kml+xml",
    AnswerFormat.HTML: "text/html; charset=utf-8",
    AnswerFormat.JPEG: "image/jpeg",
}
_FILES = {
    "description": "The answer as a file.",
    "content": {kind.split(";")[0]: {"schema": {"type": "string"}} for kind in _TYPES.values()},
}
_PRIVATE = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
_JPEG = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/map", include_in_schema=False)
def get_map(service: Service, owner: Owner, thread_id: ItemId, photo_id: ItemId) -> dict[str, Any]:
    """The answer as the page's map and panel show it."""
    photo, answer = _answered(service, owner, thread_id, photo_id)
    view = view_data([answer])
    matched_jpeg = _matched_thumbnail(service, owner, thread_id, photo)
    shown = photo_data(LocatedPhoto(photo.name, answer, matched_jpeg), view["lon"]) | {"thumbnail": None}
    shown["candidates"] = _with_pictures(shown["candidates"], answer, service)
    return {"view": view, "photo": shown | {"bounds": focus_bounds(answer, view["lon"])}}


@router.get("/ground", include_in_schema=False)
def get_ground(service: Service, owner: Owner, thread_id: ItemId, photo_id: ItemId) -> dict[str, Any]:
    """The ground around the answer: a picture, lines, names of cities."""
    return ground_data([_answered(service, owner, thread_id, photo_id)[1]])


@router.get("/export", response_class=Response, responses={200: _FILES, **problems(404)})
def export_answer(
    service: Service,
    owner: Owner,
    thread_id: ItemId,
    photo_id: ItemId,
    file_format: Annotated[AnswerFormat, Query(alias="format")],
) -> Response:
    """The answer as JSON, GeoJSON, KML or an HTML report, or a JPEG of the photo with the estimate in its XMP."""
    photo, answer = _answered(service, owner, thread_id, photo_id)
    png = service.conversations.photo_png(owner, thread_id, photo_id)
    name = f'attachment; filename="geosleuth-{photo.sha256[:10]}.{file_format.value}"'
    content = _WRITERS[file_format](photo.name, answer, png)
    return Response(content, media_type=_TYPES[file_format], headers={"Content-Disposition": name, **_PRIVATE})


@router.get("/candidate", response_class=Response, responses={200: _JPEG, **problems(404)})
def show_candidate(
    service: Service,
    owner: Owner,
    thread_id: ItemId,
    photo_id: ItemId,
    atlas: Annotated[str, Query(max_length=200, description="of a candidate of the answer")],
    item_id: Annotated[str, Query(max_length=1_000, description="of the same candidate")],
) -> Response:
    """A thumbnail of a candidate of the answer, where the server has its atlas's photos (`GEOSLEUTH_ATLAS_PHOTOS`)."""
    answer = _answered(service, owner, thread_id, photo_id)[1]
    candidate = next((one for one in answer.candidates if (one.atlas, one.item_id) == (atlas, item_id)), None)
    if candidate is None:
        raise NotFoundError("no such candidate in this answer")
    photos = open_atlas_photos(service.settings)
    jpeg = photos.thumbnail(candidate) if photos else None
    if jpeg is None:
        raise NotFoundError("this server has no photo of this candidate")
    return Response(jpeg, media_type="image/jpeg", headers=_PRIVATE)


@router.get("/hypotheses/{hypothesis_id}/view", response_class=Response, responses={200: _JPEG, **problems(404)})
def view_hypothesis(
    service: Service,
    owner: Owner,
    thread_id: ItemId,
    photo_id: ItemId,
    hypothesis_id: ItemId,
    zoom: Annotated[int, Query(ge=0, le=22, description="Web Mercator zoom level")] = 6,
) -> Response:
    """A hypothesis seen from above: a square picture, north up, from the satellite source of the server."""
    answer = _answered(service, owner, thread_id, photo_id)[1]
    found = next((one for one in answer.hypotheses if one.id == hypothesis_id), None)
    if found is None:
        raise NotFoundError("no such hypothesis in this answer")
    view = _seen_from_above(service, {"lat": found.point.lat, "lon": found.point.lon, "zoom": zoom})
    about = f"{view.width_km:.4g} km wide; {view.attribution}"
    headers = {"X-About": about.encode("ascii", "replace").decode(), "Cache-Control": "private, max-age=600"}
    return Response(base64.b64decode(view.jpeg_base64), media_type="image/jpeg", headers=headers)


def _matched_thumbnail(service: GeolocationService, owner: str, thread_id: str, photo: ThreadPhoto) -> bytes | None:
    """The photos of the place, to be shown beside the satellite tile they match; None where no tile is to be shown."""
    if not photo.answer or not any(tile.jpeg_base64 for tile in photo.answer.matches):
        return None
    ids = (photo.photo_id, *photo.more_photo_ids)
    pngs = [service.conversations.photo_png(owner, thread_id, photo_id) for photo_id in ids]
    return strip_jpeg([decode_photo(png, "photo") for png in pngs])


def _with_pictures(shown: list[dict[str, Any]], answer: Answer, service: GeolocationService) -> list[dict[str, Any]]:
    """Candidates as the map draws them, each of a photo with the route of its thumbnail if the server may show it."""
    if service.settings.atlas_photos is None:
        return shown
    return [
        row | {"picture": f"candidate?{urlencode({'atlas': one.atlas, 'item_id': one.item_id})}"}
        if one.kind is AtlasKind.PHOTO
        else row
        for row, one in zip(shown, answer.candidates, strict=True)
    ]


def _answered(service: GeolocationService, owner: str, thread_id: str, photo_id: str) -> tuple[ThreadPhoto, Answer]:
    """A photo of a thread and the answer about it.

    Raises:
        NotFoundError: no such thread or photo, or it has no answer yet.
    """
    shown = service.conversations.history(owner, thread_id).photos
    photo = next((one for one in shown if one.photo_id == photo_id), None)
    if photo is None or photo.answer is None:
        raise NotFoundError("no such photo in this thread, or no answer about it yet")
    return photo, photo.answer


def _seen_from_above(service: GeolocationService, arguments: dict[str, Any]) -> SatelliteView:
    tool = service.system.context.tools[VIEW_TOOL]
    call = {"type": "tool_call", "id": "page", "name": VIEW_TOOL, "args": arguments}
    try:
        view = tool.invoke(call).artifact
    except ToolError as error:
        raise UnusableError(str(error)) from error
    if not isinstance(view, SatelliteView):
        raise TypeError(f"{VIEW_TOOL} returned {type(view).__name__}")
    return view


def _report(name: str, answer: Answer, png: bytes) -> str:
    return map_page([LocatedPhoto(name, answer, thumbnail_jpeg(decode_photo(png, "photo")))])


_WRITERS: dict[AnswerFormat, Callable[[str, Answer, bytes], str | bytes]] = {
    AnswerFormat.JSON: lambda _, answer, __: answer.model_dump_json(indent=1),
    AnswerFormat.GEOJSON: lambda name, answer, _: "".join(geojson_pieces([LocatedPhoto(name, answer)])),
    AnswerFormat.KML: lambda name, answer, _: "".join(kml_pieces([LocatedPhoto(name, answer)])),
    AnswerFormat.HTML: _report,
    AnswerFormat.JPEG: lambda _, answer, png: jpeg_with_estimate(png, answer),
}
