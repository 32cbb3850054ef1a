"""The data of satellite tiles on a page: outlines, texts, and the photo beside the tile that it matches."""

from __future__ import annotations

import base64
from typing import Any

from agents.schemas import Answer, Evidence, EvidenceKind, TileMatch
from apps.maps.geometry import around, exteriors, near_longitude_deg, tile_area
from apps.output.formatting import printable, tile_text

_DECIMALS = 6


def tile_data(tile: TileMatch, centre_lon_deg: float) -> dict[str, Any]:
    """A tile on the map: its outline, its middle as (longitude, latitude), what is known of it."""
    centre = tile.bounds.centre
    return {
        "at": [round(near_longitude_deg(centre.lon, centre_lon_deg), 5), round(centre.lat, 5)],
        "rings": exteriors(around(tile_area(tile.bounds), centre_lon_deg), _DECIMALS),
        "title": f"Satellite tile {printable(tile.tile_id, 80)}",
        "lines": [tile_text(tile), f"similarity {tile.similarity:.3f}", str(centre)],
    }


def pictures_of(evidence: Evidence, answer: Answer, thumbnail_jpeg: bytes | None) -> list[dict[str, str]]:
    """Pictures of a match that has weight: the photo, where it is shown, and the tile that holds most of the belief."""
    best = answer.matches[0] if answer.matches else None
    if evidence.kind is not EvidenceKind.SATELLITE or not evidence.information_nats or not best or not best.jpeg_base64:
        return []
    photo = [{"src": jpeg_uri(thumbnail_jpeg), "text": "the photo"}] if thumbnail_jpeg else []
    return [*photo, {"src": jpeg_uri(best.jpeg_base64), "text": printable(best.title, 120)}]


def jpeg_uri(jpeg: bytes | str) -> str:
    """A JPEG, as bytes or as their base64, as a data URI."""
    encoded = jpeg if isinstance(jpeg, str) else base64.b64encode(jpeg).decode("ascii")
    return f"data:image/jpeg;base64,{encoded}"
