"""Street-level pictures through Mapillary's API, version 4 (https://www.mapillary.com/developer/api-documentation/).

The token goes to the API in a header and nowhere else. Thumbnails lie at addresses that the API names; they are fetched
from the API's own host, and for the public API from Meta's picture hosts, and from no other.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from core.errors import UserError
from geo.point import Point
from geo.sphere import destinations_deg, point_distance_km
from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo
from retrieval.photos.thumbnail import thumbnail_jpeg
from tools.online.addresses import MAPILLARY_API
from tools.online.json_service import JsonService
from tools.online.results import StreetPicture
from tools.results import ToolError
from tools.services.rate_limited_http import RateLimitedFetcher

PICTURE_HOSTS = ".fbcdn.net"
"""Where the public API keeps its thumbnails: hosts of this domain, over https."""

SIDE_PX = 640
JPEG_QUALITY = 80

_FIELDS = "id,computed_geometry,geometry,captured_at,compass_angle,computed_compass_angle,is_pano,thumb_1024_url"
_LISTED = 100
_APART_KM, _APART_DEG = 0.02, 60.0
_MAX_PICTURE_BYTES = 2_000_000
_PICTURE_LIMITS = PhotoLimits(max_bytes=_MAX_PICTURE_BYTES, max_megapixels=4.0, min_side_px=64, long_side_px=1024)


class ListedPicture(NamedTuple):
    """A picture that the API lists, not yet fetched."""

    picture: StreetPicture
    thumbnail_url: str


class FoundPictures(NamedTuple):
    """Pictures that were fetched, and how many could not be."""

    pictures: tuple[StreetPicture, ...]
    failed: int


class Mapillary:
    """Mapillary's API at one address. Safe between threads.

    Args:
        api_url: the address of the API, as `tools.online.addresses.checked_url` gives it.
        token: of the user's application.
        client: with a time limit; closed by its owner.

    Raises:
        UserError: a token that cannot be one; it is not repeated.
    """

    def __init__(self, api_url: str, token: str, client: httpx.Client, min_interval_s: float = 0.2) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UserError("GEOSLEUTH_MAPILLARY_TOKEN holds characters that no token has")
        self._api_url = api_url
        headers = {"Authorization": f"OAuth {token}"}
        self._service = JsonService("Mapillary", f"{api_url}/images", client, min_interval_s, headers)
        self._fetcher = RateLimitedFetcher("Mapillary", client, "image/", _MAX_PICTURE_BYTES, min_interval_s)

    def pictures(self, point: Point, radius_m: int, limit: int) -> FoundPictures:
        """The nearest pictures that look from different places or different ways, at most `limit`.

        Raises:
            ToolError: none there, or the service cannot be reached or refuses.
        """
        listed = sorted(self._listed(point, radius_m), key=lambda one: one.picture.distance_m)
        chosen = _apart(listed, limit)
        if not chosen:
            raise ToolError(f"Mapillary has no picture within {radius_m} m; try another street or a larger radius")
        fetched = [self._fetched(one) for one in chosen]
        found = tuple(picture for picture in fetched if picture)
        if not found:
            raise ToolError("Mapillary lists pictures here, and none of them could be fetched")
        return FoundPictures(found, len(fetched) - len(found))

    def _listed(self, point: Point, radius_m: int) -> Iterator[ListedPicture]:
        answer = self._service.get({"bbox": _bbox(point, radius_m), "fields": _FIELDS, "limit": str(_LISTED)})
        rows = answer.get("data")
        for row in rows if isinstance(rows, list) else []:
            listed = _picture(row, point)
            if listed and listed.picture.distance_m <= radius_m:
                yield listed

    def _fetched(self, listed: ListedPicture) -> StreetPicture | None:
        """The picture with its pixels; None where they cannot be had."""
        if not self._may_fetch(listed.thumbnail_url):
            return None
        try:
            data = self._fetcher.get(listed.thumbnail_url)
            photo = decode_photo(data or b"", "street picture", limits=_PICTURE_LIMITS)
        except (PhotoError, ToolError):
            return None
        jpeg = thumbnail_jpeg(photo, SIDE_PX, JPEG_QUALITY)
        return listed.picture.model_copy(update={"jpeg_base64": base64.b64encode(jpeg).decode("ascii")})

    def _may_fetch(self, url: str) -> bool:
        try:
            parts, api = urlsplit(url), urlsplit(self._api_url)
        except ValueError:
            return False
        if (parts.scheme, parts.netloc) == (api.scheme, api.netloc):
            return True
        return self._api_url == MAPILLARY_API and parts.scheme == "https" and parts.netloc.endswith(PICTURE_HOSTS)


def _bbox(point: Point, radius_m: int) -> str:
    """West, south, east and north of a circle, in degrees; cut off at the antimeridian and the poles."""
    edges = destinations_deg(point, [0.0, 90.0, 180.0, 270.0], radius_m / 1000.0)
    north, east, south, west = float(edges[0, 0]), float(edges[1, 1]), float(edges[2, 0]), float(edges[3, 1])
    east, west = (east if east > point.lon else 180.0), (west if west < point.lon else -180.0)
    return f"{west:.6f},{south:.6f},{east:.6f},{north:.6f}"


def _picture(row: Any, point: Point) -> ListedPicture | None:
    """A row of the list; None where it lacks what is needed."""
    try:
        lon, lat = (row.get("computed_geometry") or row["geometry"])["coordinates"][:2]
        camera = Point(lat=lat, lon=lon)
        angle = row.get("computed_compass_angle", row.get("compass_angle"))
        picture = StreetPicture(
            point=camera,
            distance_m=round(point_distance_km(point, camera) * 1000.0),
            taken_on=datetime.fromtimestamp(row["captured_at"] / 1000.0, UTC).date().isoformat(),
            looks_towards_deg=None if angle is None else round(float(angle)) % 360,
            panorama=row.get("is_pano") is True,
            link=f"https://www.mapillary.com/app/?pKey={int(row['id'])}",
        )
        return ListedPicture(picture, str(row["thumb_1024_url"]))
    except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError):
        return None


def _apart(listed: Sequence[ListedPicture], limit: int) -> list[ListedPicture]:
    """The first pictures, without those that show what one before them shows."""
    chosen: list[ListedPicture] = []
    for one in listed:
        if len(chosen) < limit and not any(_alike(one.picture, other.picture) for other in chosen):
            chosen.append(one)
    return chosen


def _alike(one: StreetPicture, other: StreetPicture) -> bool:
    """Whether two cameras stand within 20 m and look the same way, to 60° (both by hand)."""
    if point_distance_km(one.point, other.point) > _APART_KM:
        return False
    if one.looks_towards_deg is None or other.looks_towards_deg is None:
        return True
    return abs((one.looks_towards_deg - other.looks_towards_deg + 180) % 360 - 180) < _APART_DEG
