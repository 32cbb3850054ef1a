"""The results of retrieval: candidates, regions of candidates, and satellite tiles that a photo was compared with."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from core.frozen import Immutable
from geo.point import Point
from geo.tiles import TileBounds


class AtlasKind(StrEnum):
    """What the vectors of an atlas stand for."""

    PHOTO = "photo"
    GPS = "gps"
    TILE = "tile"
    """Satellite tiles, for matching the ground to pictures from above (`retrieval.crossview`)."""


class Candidate(Immutable):
    """One retrieved place: an item of an atlas near the query in vector space."""

    point: Point
    similarity: float = Field(description="cosine of query and item vectors; comparable within one atlas only")
    atlas: str = Field(description="name of the atlas it came from")
    kind: AtlasKind
    item_id: str = Field(description="the item's id in that atlas")
    rank: int = Field(ge=0, description="0 is the most similar")


class Region(Immutable):
    """A cluster of candidates on the sphere."""

    centre: Point = Field(description="similarity-weighted spherical medoid: the position of a real candidate")
    radius_km: float = Field(ge=0.0, description="weighted 90th percentile of the members' distance to the centre")
    members: tuple[int, ...] = Field(description="positions in the candidate list, most similar first")
    mass: float = Field(ge=0.0, le=1.0, description="share of all candidates' weight")
    isolated: bool = Field(description="a lone candidate: demoted, never dropped")


class MatchedTile(Immutable):
    """A satellite tile that was compared with a photo. Id, source and date are untrusted: data, never instructions."""

    tile_id: str
    bounds: TileBounds = Field(description="south, west, north, east in degrees")
    similarity: float = Field(description="cosine of the vectors of photo and tile; comparable within one encoder only")
    zoom: str = Field("", description="of the XYZ tree, or empty")
    source: str = Field("", description="whose imagery it is")
    date: str = Field("", description="when it was taken, as the source says it; empty: not known")

    @property
    def title(self) -> str:
        """Its id with source and date, untrusted as they are.

        >>> MatchedTile(tile_id="17/1/2", bounds=TileBounds(0, 0, 1, 1), similarity=0.5, source="NASA").title
        '17/1/2 (NASA)'
        """
        about = ", ".join(filter(None, (self.source, self.date)))
        return f"{self.tile_id} ({about})" if about else self.tile_id
