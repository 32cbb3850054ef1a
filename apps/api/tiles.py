"""`GET /v1/tiles/…`: the ground under the page's map, from the sources that the operator configured."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response

from apps.api.parameters import Service
from apps.api.problems import problems
from geo.tiles import Tile
from tools.satellite_view import ViewKind

router = APIRouter(prefix="/tiles", tags=["server"])

MAX_ZOOM = 22
_HEADERS = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_TILES: dict[int | str, dict[str, Any]] = {
    200: {"description": "256 by 256 pixels", "content": {"image/jpeg": _PICTURE, "image/png": _PICTURE}},
    204: {"description": "The source has no such tile."},
}
Index = Annotated[int, Path(ge=0, lt=1 << MAX_ZOOM)]


@router.get("/{kind}/{zoom}/{x}/{y}", response_class=Response, responses={**_TILES, **problems(404, 503)})
async def get_tile(
    request: Request,
    service: Service,
    kind: ViewKind,
    zoom: Annotated[int, Path(ge=0, le=MAX_ZOOM)],
    x: Index,
    y: Index,
) -> Response:
    """A Web Mercator tile of a source of this server (`map_layers` of `/v1/offer`); y counts from the north."""
    picture = await anyio.to_thread.run_sync(
        service.map_tiles.picture, kind, Tile(zoom, x, y), limiter=request.app.state.tiles
    )
    if picture is None:
        return Response(status_code=204, headers=_HEADERS)
    return Response(picture.data, media_type=picture.media_type, headers=_HEADERS)
